"""Transforms that move pixels: against NumPy's own rotations and slices, the definitions in loops, and torchvision."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from torch_transforms import as_numpy, as_torch, torch_functional

from minicnn import kernels
from minicnn.data import transforms
from minicnn.data.transforms import Draws, ElasticDistortion, RandomAffine, affine_matrices

SLOW = pytest.mark.slow  # to import torchvision takes seconds
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(3, 8, 8, 2), dtype=np.uint8)
WIDE = RNG.random((3, 9, 12, 3)).astype(np.float32)
FILLS = ["nearest", "constant", "reflect"]
N = 20_000


def fixed(**amounts):
    """A RandomAffine that always draws these amounts."""
    fill = amounts.pop("fill", "constant")
    return RandomAffine(**{name: (amount, amount) for name, amount in amounts.items()}, fill=fill)


# RandomAffine


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("quarters", [-3, -2, -1, 1, 2, 3, 4])
def test_quarter_turns_clockwise(quarters, fill):
    turned = fixed(rotation=90 * quarters, fill=fill).apply(IMAGES)
    assert_array_equal(turned, np.rot90(IMAGES, -quarters, axes=(1, 2)))


@pytest.mark.parametrize(("fill", "mode"), [("nearest", "edge"), ("constant", "constant"), ("reflect", "symmetric")])
def test_a_shift_looks_that_far_down_and_right(fill, mode):
    """A quarter of 8 pixels are 2; half of 12 are 6."""
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode)
    assert_array_equal(fixed(shift=0.25, fill=fill).apply(IMAGES), padded[:, 4:, 4:])
    moved = fixed(shift=-0.5, fill=fill).apply(np.pad(IMAGES, ((0, 0), (0, 0), (0, 4), (0, 0))))
    assert_array_equal(moved[:, 4:, 6:], IMAGES[:, :4, :6])


@pytest.mark.parametrize("fill", FILLS)
def test_no_amounts_leave_the_same_bits(fill):
    for images in (IMAGES, WIDE, WIDE.astype(np.float64)):
        assert_array_equal(RandomAffine(fill=fill).apply(images), images)


def test_zoom_of_a_ramp():
    """Above 1 one sees more: the slope is that much steeper, up to the edge that "nearest" repeats."""
    ramp = np.broadcast_to(np.arange(11.0)[:, np.newaxis], (1, 11, 11, 11)).copy()  # of columns, in 11 channels
    columns = np.arange(11)
    for zoom in (0.5, 2, 3):
        expected = np.clip(5 + zoom * (columns - 5), 0, 10)
        zoomed = fixed(zoom=zoom, fill="nearest").apply(ramp)
        assert_allclose(zoomed, np.broadcast_to(expected[:, np.newaxis], ramp.shape), atol=1e-12)


def test_shear_leans_columns_and_shortens_them():
    """Row i of column j comes from (i - sin(s) j', ...): the matrix of Keras, seen on two ramps."""
    s = 0.2
    rows, columns = np.mgrid[:21, :21].astype(float)
    leant = fixed(shear=s, fill="nearest").apply(np.stack([rows, columns], axis=-1)[np.newaxis])[0]
    inside = slice(6, 15)
    assert_allclose(leant[inside, inside, 0], (rows - np.sin(s) * (columns - 10))[inside, inside], atol=1e-12)
    assert_allclose(leant[inside, inside, 1], (10 + np.cos(s) * (columns - 10))[inside, inside], atol=1e-12)


def test_the_matrix_is_the_product_of_the_five():
    H, W = 9, 12
    rotation, shear = np.array([20.0, -130]), np.array([0.3, -0.1])
    shift, zoom = np.array([[0.1, -0.2], [0.3, 0.05]]), np.array([[0.8, 1.1], [1.2, 0.9]])
    matrices = affine_matrices(rotation, shift, shear, zoom, (H, W))
    for n in range(2):
        r, s = np.pi * rotation[n] / 180, shear[n]
        R = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
        T = np.array([[1, 0, H * shift[n, 0]], [0, 1, W * shift[n, 1]], [0, 0, 1]])
        S = np.array([[1, -np.sin(s), 0], [0, np.cos(s), 0], [0, 0, 1]])
        Z = np.diag([*zoom[n], 1])
        C = np.array([[1, 0, (H - 1) / 2], [0, 1, (W - 1) / 2], [0, 0, 1]])
        assert_allclose(matrices[n], (C @ R @ T @ S @ Z @ np.linalg.inv(C))[:2], atol=1e-12)


@SLOW
@pytest.mark.parametrize("angle", [-170, -45, 10, 30.5])
def test_rotation_is_torchvision_s_the_other_way_round(angle):
    functional = torch_functional()
    expected = functional.rotate(as_torch(WIDE), angle, interpolation=functional.InterpolationMode.BILINEAR)
    assert_allclose(fixed(rotation=-angle).apply(WIDE), as_numpy(expected), atol=2e-5)


@SLOW
@pytest.mark.parametrize(("angle", "scale", "translate"), [(0, 1.0, (3, -2)), (25, 1.25, (0, 0)), (0, 0.7, (0, 0))])
def test_affine_is_torchvision_s(angle, scale, translate):
    """It says where pixels go, we where they come from: so scale is 1 / zoom, and a shift has the other sign."""
    functional = torch_functional()
    bilinear = functional.InterpolationMode.BILINEAR
    expected = functional.affine(as_torch(WIDE), angle, list(translate), scale, [0.0, 0.0], interpolation=bilinear)
    size = np.array([9, 12])
    shift, zoom = -np.array([translate[::-1]]) / size, np.full((1, 2), 1 / scale)
    matrices = affine_matrices(np.array([float(angle)]), shift, np.zeros(1), zoom, tuple(size))
    y = kernels.room(WIDE).warp(WIDE, np.repeat(matrices, 3, axis=0), None, "constant", 0.0)
    assert_allclose(y, as_numpy(expected), atol=2e-5)


@SLOW
def test_displacements_are_torchvision_s_elastic():
    functional = torch_functional()
    torch = pytest.importorskip("torch")
    displacement = RNG.standard_normal((1, 9, 12, 2))
    there = torch.from_numpy((displacement[..., ::-1] * [2 / 12, 2 / 9]).astype(np.float32))  # (x, y), size = 2
    expected = functional.elastic(as_torch(WIDE[:1]), there)
    unturned = np.eye(2, 3)[np.newaxis]
    y = kernels.room(WIDE).warp(WIDE[:1], unturned, displacement, "constant", 0.0)
    assert_allclose(y, as_numpy(expected), atol=2e-5)


def test_what_is_drawn_fills_the_ranges_evenly(monkeypatch):
    """Amounts are read off the matrices: each has its range's mean and variance, and none depends on another."""
    seen = {}

    def spy(rotation, shift, shear, zoom, size):
        seen["amounts"] = np.column_stack([rotation, shear, shift, zoom])
        return affine_matrices(rotation, shift, shear, zoom, size)

    monkeypatch.setattr("minicnn.data.transforms.affine.affine_matrices", spy)
    RandomAffine(30, 0.1, 0.2, 0.2).apply(np.zeros((N, 1, 1, 1), np.uint8))
    middles, reaches = np.array([0, 0, 0, 0, 1, 1]), np.array([30, 0.2, 0.1, 0.1, 0.2, 0.2])
    u = (seen["amounts"] - middles) / reaches
    assert abs(u).max() <= 1
    assert_allclose(u.mean(axis=0), 0, atol=5 / np.sqrt(3 * N))
    assert_allclose((u**2).mean(axis=0), 1 / 3, atol=5 * np.sqrt(4 / 45 / N))
    assert_allclose(np.corrcoef(u.T), np.eye(6), atol=5 / np.sqrt(N))


# Flips


@pytest.mark.parametrize(("kind", "axis"), [(transforms.RandomHorizontalFlip, 2), (transforms.RandomVerticalFlip, 1)])
def test_flips(kind, axis):
    assert_array_equal(kind(1).apply(IMAGES), np.flip(IMAGES, axis))
    assert_array_equal(kind(0).apply(IMAGES), IMAGES)
    many = np.broadcast_to(IMAGES[:1], (N, 8, 8, 2))
    flipped = (kind(0.3).apply(many) == np.flip(IMAGES[:1], axis)).all(axis=(1, 2, 3))
    assert abs(flipped.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / N)


# Crops


@pytest.mark.parametrize(("fill", "mode"), [("nearest", "edge"), ("constant", "constant"), ("reflect", "symmetric")])
def test_a_random_crop_is_a_slice_of_the_padded_image_and_all_places_are_alike(fill, mode):
    image = np.arange(1, 31, dtype=np.float32).reshape(1, 5, 6, 1)
    padded = np.pad(image[0], ((1, 1), (2, 2), (0, 0)), mode)
    places = {padded[i : i + 4, j : j + 5].tobytes(): (i, j) for i in range(4) for j in range(6)}
    assert len(places) == 24
    crops = transforms.RandomCrop((4, 5), padding=(1, 2), fill=fill).apply(np.repeat(image, N, axis=0))
    assert crops.shape == (N, 4, 5, 1)
    counts = np.zeros((4, 6))
    for crop in crops:
        counts[places[crop.tobytes()]] += 1
    assert abs(counts - N / 24).max() < 5 * np.sqrt(N / 24)


def test_a_crop_of_the_whole_image_is_the_image():
    assert_array_equal(transforms.RandomCrop(8).apply(IMAGES), IMAGES)
    assert_array_equal(transforms.CenterCrop(8).apply(IMAGES), IMAGES)


@SLOW
@pytest.mark.parametrize("size", [(3, 4), (4, 3), (9, 12), (8, 7), (1, 1)])
def test_centre_and_ten_crops_are_torchvision_s(size):
    functional = torch_functional()
    centre = functional.center_crop(as_torch(WIDE), list(size))
    assert_array_equal(transforms.CenterCrop(size).apply(WIDE), as_numpy(centre))
    ten = functional.ten_crop(as_torch(WIDE), list(size))
    assert_array_equal(transforms.ten_crop(WIDE, size), np.stack([as_numpy(view) for view in ten]))


def test_the_centre_and_the_ten_views_by_hand():
    """Of 4 x 6 pixels, numbered row by row: where each view of 2 x 2 begins, and of the mirror image likewise."""
    image = np.arange(24, dtype=np.uint8).reshape(1, 4, 6, 1)
    assert transforms.CenterCrop(2).apply(image).ravel().tolist() == [8, 9, 14, 15]
    assert transforms.CenterCrop((2, 6)).apply(image).ravel().tolist() == list(range(6, 18))
    views = transforms.ten_crop(image, 2)
    assert views.shape == (10, 1, 2, 2, 1)
    assert views[:5, 0, 0, 0, 0].tolist() == [0, 4, 12, 16, 8]
    assert views[5:, 0, 0, 0, 0].tolist() == [5, 1, 17, 13, 9]
    assert views[6].ravel().tolist() == [1, 0, 7, 6]


# Other sizes


def triangle(new, old):
    """(new, old): the weights of old pixels in each new one, from the middle of each; wider where images shrink."""
    scale = old / new
    weights = np.zeros((new, old))
    for i in range(new):
        for j in range(old):
            weights[i, j] = max(0, 1 - abs((j + 0.5) - (i + 0.5) * scale) / max(scale, 1))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(4, 5), (9, 12), (20, 30), (3, 40)])
def test_resizing_is_a_weighted_mean(size):
    rows, columns = triangle(size[0], 9), triangle(size[1], 12)
    expected = np.einsum("ih,jw,nhwc->nijc", rows, columns, WIDE.astype(np.float64))
    assert_allclose(transforms.Resize(size).apply(WIDE), expected, atol=1e-6)
    # Pillow rounds bytes after each of the two axes.
    in_bytes = transforms.Resize(size).apply(np.round(WIDE * 255).astype(np.uint8))
    assert_allclose(in_bytes, expected * 255, atol=1.6)


@SLOW
@pytest.mark.parametrize("size", [(4, 5), (20, 30), (3, 40)])
def test_resizing_is_torchvision_s(size):
    functional = torch_functional()
    expected = functional.resize(as_torch(WIDE), list(size), antialias=True)
    assert_allclose(transforms.Resize(size).apply(WIDE), as_numpy(expected), atol=1e-6)


@SLOW
@pytest.mark.parametrize("shape", [(9, 12), (12, 9), (10, 10), (7, 50)])
def test_one_number_is_the_shorter_side_as_in_torchvision(shape):
    functional = torch_functional()
    image = RNG.random((1, *shape, 1)).astype(np.float32)
    resized = transforms.Resize(5).apply(image)
    assert resized.shape == as_numpy(functional.resize(as_torch(image), [5], antialias=True)).shape


def test_a_random_resized_crop_has_an_area_and_a_proportion_from_the_ranges():
    H, W = 300, 400
    crop = transforms.RandomResizedCrop(8, scale=(0.2, 0.5), ratio=(0.5, 2))
    top, left, bottom, right = crop.boxes((H, W), Draws(0, 0, range(N))).T
    h, w = bottom - top, right - left
    assert top.min() >= 0
    assert left.min() >= 0
    assert bottom.max() <= H
    assert right.max() <= W
    area, ratio = h * w / (H * W), w / h
    assert 0.2 * 0.98 < area.min() < 0.21  # whole pixels leave 2 % beyond the range
    assert 0.49 < area.max() < 0.5 * 1.02
    assert 0.5 * 0.98 < ratio.min() < 0.52
    assert 1.92 < ratio.max() < 2 * 1.02
    # Those of scale=(s, s), small enough to fit always, have the logarithm of their proportion even.
    small = transforms.RandomResizedCrop(8, scale=(0.1, 0.1), ratio=(0.5, 2)).boxes((H, W), Draws(0, 0, range(N))).T
    logarithm = np.log2((small[3] - small[1]) / (small[2] - small[0]))
    assert abs(logarithm.mean()) < 0.02
    assert abs(logarithm.var() - 1 / 3) < 0.02


def test_a_random_resized_crop_is_its_box_resized():
    crop = transforms.RandomResizedCrop((5, 6))
    y = crop.apply(WIDE, Draws(3, 0, range(3)))
    for n, (top, left, bottom, right) in enumerate(crop.boxes((9, 12), Draws(3, 0, range(3)))):
        part = WIDE[n : n + 1, top:bottom, left:right]
        assert_array_equal(y[n : n + 1], transforms.Resize((5, 6)).apply(part))


@pytest.mark.parametrize(("ratio", "box"), [((3.0, 4.0), (3, 0, 6, 9)), ((0.1, 0.1), (0, 4, 9, 5))])
def test_where_no_part_fits_the_largest_in_the_middle_is_taken(ratio, box):
    """Of 9 x 9 pixels, with all of the area and thrice as wide as high: the middle three rows."""
    crop = transforms.RandomResizedCrop(5, scale=(1, 1), ratio=ratio)
    assert_array_equal(crop.boxes((9, 9), Draws(0, 0, range(4))), [box] * 4)


# ElasticDistortion


def test_the_displacement_is_noise_smoothed_by_a_gaussian():
    H, W, alpha, sigma = 7, 9, 5.0, 1.5
    draws = Draws(4, 2, [11, 12])
    field = ElasticDistortion(alpha, sigma).displacement((H, W), draws)
    noise = 2 * Draws(4, 2, [11, 12]).uniform(2 * H * W).reshape(2, 2, H, W) - 1
    reach = range(-12, 13)
    g = {t: np.exp(-(t**2) / (2 * sigma**2)) for t in reach}
    total = sum(g.values())
    for n, axis, i, j in [(0, 0, 0, 0), (1, 1, 6, 8), (0, 1, 3, 4), (1, 0, 2, 8)]:
        expected = sum(
            g[s] * g[t] * noise[n, axis, (i + s) % H, (j + t) % W] for s in reach for t in reach
        ) / total**2  # fmt: skip
        # Six sigmas away, where the field's Gaussian ends, it is down to 1.5e-8.
        assert_allclose(field[n, i, j, axis], alpha * expected, rtol=1e-7)


def test_the_statistics_and_the_smoothness_of_the_displacement():
    """The deviation of the docstring, alike everywhere; pixels t apart are correlated as exp(-t^2 / (4 sigma^2))."""
    alpha, sigma = 34, 4
    field = ElasticDistortion(alpha, sigma).displacement((28, 28), Draws(0, 0, range(1500)))  # (n, 28, 28, 2)
    deviation = alpha / (np.sqrt(12 * np.pi) * sigma)
    assert abs(deviation - 1.4) < 0.05
    assert_allclose(field.std(axis=0), deviation, rtol=0.09)  # five standard errors
    assert_allclose(field.mean(axis=0), 0, atol=5 * deviation / np.sqrt(1500))
    for t in (1, 4, 8):
        along = (field[:, t:] * field[:, :-t]).mean() / (field**2).mean()
        across = (field[:, :, t:] * field[:, :, :-t]).mean() / (field**2).mean()
        assert_allclose([along, across], np.exp(-(t**2) / (4 * sigma**2)), atol=0.03)
    assert abs((field[..., 0] * field[..., 1]).mean()) < 0.05 * deviation**2


def test_no_strength_is_no_distortion():
    assert_array_equal(ElasticDistortion(alpha=0).apply(IMAGES), IMAGES)
    assert (ElasticDistortion(alpha=20, sigma=2).apply(IMAGES) != IMAGES).mean() > 0.5
