"""What holds for every transform: the numbers it draws, batches without influence, and what it refuses."""

import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import minicnn as mc
from minicnn.data import transforms
from minicnn.data.transforms import Compose, Draws, Normalize, RandomAffine, RandomHorizontalFlip, Resize, Transform
from minicnn.kernels import reference

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(6, 12, 14, 3), dtype=np.uint8)
COLORS = transforms.principal_colors(IMAGES)

# Each of them random where it can be.
EVERY = [
    RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2, fill="reflect"),
    transforms.ElasticDistortion(alpha=20, sigma=3),
    RandomHorizontalFlip(0.5),
    transforms.RandomVerticalFlip(0.5),
    transforms.RandomCrop((9, 10), padding=2),
    transforms.CenterCrop(8),
    Resize((7, 20)),
    transforms.RandomResizedCrop(10),
    transforms.ColorJitter(0.4, 0.4, 0.4),
    transforms.ColorNoise(COLORS, 3),
    transforms.Cutout(5, value=100),
    Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]),
    Compose([RandomHorizontalFlip(), lambda image, rng: image + rng.integers(9, dtype=np.uint8), RandomAffine(20)]),
]
EVERY_TRANSFORM = pytest.mark.parametrize("transform", EVERY, ids=[type(t).__name__ for t in EVERY])


def images_of(dtype):
    return IMAGES if dtype == np.uint8 else (IMAGES / 255).astype(dtype)


def test_every_transform_is_here():
    public = {getattr(transforms, name) for name in transforms.__all__}
    classes = {c for c in public if isinstance(c, type) and issubclass(c, Transform)} - {Transform}
    assert {type(transform) for transform in EVERY} == classes


# Draws


def test_a_number_is_its_word_of_philox():
    seed, epoch, sample = 2**40 + 7, 3, 12
    u = Draws(seed, epoch, [5, sample]).uniform(10)[1]
    key = np.array([seed % 2**32, seed // 2**32], np.uint32)
    for position in range(10):
        counter = np.array([position // 4, sample, epoch, 2**32 - 1], np.uint32)
        assert u[position] == reference.philox4x32(counter, key)[position % 4] / 2**32


def test_calls_go_on_where_the_last_one_ended():
    draws, whole = Draws(1, 2, [3, 4]), Draws(1, 2, [3, 4]).uniform(20)
    assert_array_equal(np.concatenate([draws.uniform(k) for k in (1, 6, 0, 5, 8)], axis=1), whole)
    assert_array_equal(draws.uniform(3), Draws(1, 2, [3, 4]).uniform(23)[:, 20:])


def test_a_sample_draws_the_same_in_every_batch_and_alone():
    together = Draws(5, 1, [7, 2**32 - 1, 0])
    together.uniform(3)
    alone = [together.part(i) for i in range(3)]
    for draw in (lambda d: d.uniform(5), lambda d: d.normal(3), lambda d: [[g.random()] for g in d.generators()]):
        assert_array_equal(draw(together), [draw(part)[0] for part in alone])
    assert_array_equal(Draws(5, 1, [0, 7]).uniform(4), Draws(5, 1, [7, 0]).uniform(4)[::-1])


def test_seed_epoch_sample_and_position_all_matter():
    first = Draws(0, 0, [0]).uniform(1)
    others = [Draws(1, 0, [0]), Draws(2**32, 0, [0]), Draws(0, 1, [0]), Draws(0, 0, [1])]
    assert len({float(u) for u in [first[0, 0], *(d.uniform(1)[0, 0] for d in others)]}) == 5
    draws = Draws(0, 0, [0])
    assert len({draws.generators()[0].random() for _ in range(5)}) == 5


def test_the_statistics_of_the_draws():
    """Means and variances of 200,000 numbers, within five of their standard errors; and no two columns correlated."""
    u = Draws(0, 0, range(50_000)).uniform(4)
    z = Draws(0, 0, range(50_000)).normal(4)
    n = u.size
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / n)
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    for numbers in (u, z):
        assert abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 5 / np.sqrt(50_000)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((-1, 0, [0]), ValueError),
        ((2**64, 0, [0]), ValueError),
        ((True, 0, [0]), TypeError),
        ((0, 1.0, [0]), TypeError),
        ((0, 2**32, [0]), ValueError),
        ((0, 0, [-1]), ValueError),
        ((0, 0, [2**32]), ValueError),
        ((0, 0, [0.5]), TypeError),
        ((0, 0, [[0]]), TypeError),
    ],
)
def test_draws_refuse_what_is_no_number_of_a_sample(arguments, error):
    with pytest.raises(error, match="Draws expected"):
        Draws(*arguments)


@pytest.mark.parametrize(("k", "error"), [(-1, ValueError), (1.5, TypeError), ("3", TypeError)])
def test_draws_refuse_what_is_no_count(k, error):
    for draw in (Draws(0, 0, [1]).uniform, Draws(0, 0, [1]).normal):
        with pytest.raises(error, match="Draws expected"):
            draw(k)


# Every transform


@EVERY_TRANSFORM
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_sample_becomes_the_same_pixels_whatever_the_batch(transform, dtype):
    x, numbers = images_of(dtype), np.array([3, 1, 4, 10, 5, 9])
    y = transform.apply(x, Draws(8, 2, numbers))
    order = np.array([5, 0, 3])
    assert_array_equal(transform.apply(x[order], Draws(8, 2, numbers[order])), y[order])
    for i in range(6):
        assert_array_equal(transform.apply(x[i : i + 1], Draws(8, 2, numbers).part(i))[0], y[i])


@EVERY_TRANSFORM
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_results_are_fresh_of_the_same_type_and_inputs_untouched(transform, dtype):
    x = images_of(dtype).copy()
    before = x.copy()
    x.setflags(write=False)
    y = transform.apply(x, Draws(0, 0, range(6)))
    assert_array_equal(x, before)
    assert y.dtype == (np.float32 if transform.returns_float32 else dtype)
    assert not np.shares_memory(x, y)
    assert y.flags.writeable
    other_layout = np.asfortranarray(before).astype(np.dtype(dtype).newbyteorder(">"))
    assert_array_equal(transform.apply(other_layout, Draws(0, 0, range(6))), y)


@EVERY_TRANSFORM
def test_an_empty_batch_stays_empty(transform):
    full = transform.apply(IMAGES, Draws(0, 0, range(6)))
    empty = transform.apply(IMAGES[:0], Draws(0, 0, []))
    assert empty.shape == (0, *full.shape[1:])


@EVERY_TRANSFORM
def test_draws_may_be_left_out_for_those_of_the_seed(transform):
    mc.seed(6)
    try:
        assert_array_equal(transform.apply(IMAGES), transform.apply(IMAGES, Draws(6, 0, range(6))))
    finally:
        mc.seed(0)


@EVERY_TRANSFORM
@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (IMAGES[0], ValueError, "expected images of shape (n, H, W, C), got (12, 14, 3); use images[np.newaxis]"),
        (IMAGES.astype(np.int64), TypeError, "expected images of uint8, float32 or float64, got int64"),
        (IMAGES[:, :0], ValueError, "expected images of shape (n, H, W, C), got (6, 0, 14, 3)"),
        (IMAGES[:5], ValueError, "got 5 images and the draws of 6 samples"),
    ],
)
def test_what_are_no_images_is_refused(transform, images, error, words):
    with pytest.raises(error, match=re.escape(words)):
        transform.apply(images, Draws(0, 0, range(6)))


# Compose and one's own


def test_compose_is_one_after_the_other():
    flip, affine = RandomHorizontalFlip(0.5), RandomAffine(30)
    draws = Draws(1, 0, range(6))
    expected = affine.apply(flip.apply(IMAGES, draws), draws)
    assert_array_equal(Compose([flip, affine]).apply(IMAGES, Draws(1, 0, range(6))), expected)


def test_two_functions_of_a_pipeline_have_generators_of_their_own():
    seen = []

    def look(image, rng):
        seen.append(rng.random())
        return image

    Compose([look, look]).apply(IMAGES, Draws(0, 0, range(6)))
    assert len(set(seen)) == 12


def test_a_function_may_write_to_its_image():
    def darken(image, rng):
        image[...] = 0
        return image

    before = IMAGES.copy()
    assert not Compose([darken]).apply(IMAGES).any()
    assert_array_equal(IMAGES, before)


def test_what_a_transform_leaves_as_it_is_becomes_a_copy():
    class Upside(Transform):
        def change(self, images, draws):
            return images[:, ::-1]

    turned = Upside().apply(IMAGES)
    assert_array_equal(turned, IMAGES[:, ::-1])
    assert not np.shares_memory(turned, IMAGES)


class Wrong(Transform):
    def __init__(self, result):
        self.result = result

    def change(self, images, draws):
        return self.result


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (IMAGES[:5], ValueError),
        (IMAGES[0], ValueError),
        (None, ValueError),
        (IMAGES.astype(np.float32), TypeError),
        (IMAGES[:, :, :0], ValueError),
    ],
)
def test_a_transform_that_gives_something_else_is_named(result, error):
    with pytest.raises(error, match="Wrong"):
        Compose([Wrong(result)]).apply(IMAGES)


def test_a_function_that_gives_images_of_several_sizes_is_named():
    def ragged(image, rng):
        return image[: rng.integers(1, 12)]

    with pytest.raises(ValueError, match="several sizes"):
        Compose([ragged]).apply(IMAGES)


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        ([], ValueError, "at least one"),
        (RandomAffine(), ValueError, "a list of at least one"),
        ([3], TypeError, "got 3"),
        ([RandomAffine], TypeError, "RandomAffine"),
        ([Normalize([0.5], [1]), RandomAffine()], ValueError, "put it behind RandomAffine"),
        ([Compose([Normalize([0.5], [1])]), RandomAffine()], ValueError, "put it behind RandomAffine"),
    ],
)
def test_compose_refuses_what_is_no_pipeline(steps, error, words):
    with pytest.raises(error, match=words):
        Compose(steps)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "call",
    [
        lambda: RandomAffine(rotation=400),
        lambda: RandomAffine(rotation=-1),
        lambda: RandomAffine(rotation=(3, 1)),
        lambda: RandomAffine(rotation=(1, 2, 3)),
        lambda: RandomAffine(rotation="30"),
        lambda: RandomAffine(shift=1.5),
        lambda: RandomAffine(zoom=(0, 1)),
        lambda: RandomAffine(shear=NAN),
        lambda: RandomAffine(fill="wrap"),
        lambda: RandomAffine(value=INF),
        lambda: RandomHorizontalFlip(1.1),
        lambda: RandomHorizontalFlip(True),
        lambda: transforms.RandomVerticalFlip(-0.1),
        lambda: transforms.RandomVerticalFlip(NAN),
        lambda: transforms.RandomCrop(0),
        lambda: transforms.RandomCrop(-3),
        lambda: transforms.RandomCrop(3.5),
        lambda: transforms.RandomCrop((3, 4, 5)),
        lambda: transforms.RandomCrop(3, padding=-1),
        lambda: transforms.RandomCrop(3, fill="edge"),
        lambda: transforms.CenterCrop("4"),
        lambda: Resize(0),
        lambda: Resize(10**9),
        lambda: Resize(True),
        lambda: transforms.RandomResizedCrop(8, scale=(0.5, 1.5)),
        lambda: transforms.RandomResizedCrop(8, scale=0.5),
        lambda: transforms.RandomResizedCrop(8, ratio=(2, 1)),
        lambda: transforms.ColorJitter(brightness=-1),
        lambda: transforms.ColorJitter(contrast=(-1, 1)),
        lambda: transforms.ColorNoise((np.ones(3), np.eye(3))),
        lambda: transforms.ColorNoise(COLORS, -1),
        lambda: transforms.principal_colors(IMAGES[:0]),
        lambda: transforms.principal_colors(IMAGES[..., :1]),
        lambda: transforms.Cutout(0),
        lambda: transforms.Cutout(2.5),
        lambda: transforms.ElasticDistortion(alpha=-1),
        lambda: transforms.ElasticDistortion(sigma=0),
        lambda: Normalize([0.5], [0]),
        lambda: Normalize([0.5, 0.5], [1]),
        lambda: Normalize([], []),
        lambda: Normalize([NAN], [1]),
        lambda: Normalize(0.5, 1),
        lambda: transforms.Mixup(0, 10),
        lambda: transforms.Mixup(0.2, 0),
        lambda: transforms.Mixup(0.2, 2.5),
        lambda: transforms.ten_crop(IMAGES, 13),
        lambda: transforms.ten_crop(IMAGES[0], 3),
        lambda: transforms.CenterCrop((12, 15)).apply(IMAGES),
        lambda: transforms.RandomCrop(17, padding=2).apply(IMAGES),
        lambda: transforms.RandomCrop(3, padding=1, value=0.5).apply(IMAGES),
        lambda: RandomAffine(fill="constant", value=256).apply(IMAGES),
        lambda: transforms.Cutout(3, value=-1).apply(IMAGES),
        lambda: transforms.ColorJitter(0.1).apply(IMAGES[..., :2]),
        lambda: transforms.ColorNoise(COLORS).apply(IMAGES[..., :1]),
        lambda: Normalize([0.5], [1]).apply(IMAGES),
    ],
)
def test_nonsense_is_refused_with_a_sentence(call):
    with pytest.raises((ValueError, TypeError), match=r"expected|cannot|has the mean of"):
        call()


def test_without_pillow_resizing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ImportError, match=r"minicnn\[photos\]"):
        Resize(5).apply(IMAGES)
