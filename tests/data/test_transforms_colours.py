"""Transforms that change values: against their formulas, and torchvision."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from torch_transforms import as_numpy, as_torch, torch_functional

from minicnn.data import transforms
from minicnn.data.transforms import ColorJitter, ColorNoise, Draws, principal_colors

SLOW = pytest.mark.slow  # to import torchvision takes seconds
RNG = np.random.default_rng(0)
IMAGES = RNG.random((4, 6, 7, 3)).astype(np.float32)
BYTES = RNG.integers(256, size=(4, 6, 7, 3), dtype=np.uint8)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
N = 20_000


# ColorJitter


@SLOW
@pytest.mark.parametrize("factor", [0, 0.3, 1, 1.7])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_the_three_are_torchvision_s(name, factor):
    """Its weights of red, green and blue add up to 0.9999, ours to 1."""
    adjusted = as_numpy(getattr(torch_functional(), f"adjust_{name}")(as_torch(IMAGES), factor))
    jitter = ColorJitter(**{name: (factor, factor)})
    assert_allclose(jitter.apply(IMAGES), adjusted, atol=2e-4)
    bytes_as_floats = jitter.apply(BYTES.astype(np.float32) / 255) * 255
    assert_allclose(jitter.apply(BYTES), bytes_as_floats, atol=0.5 + 1e-4)


def test_brightness_comes_before_contrast_before_saturation():
    x = IMAGES[:1].astype(np.float64)
    luma = np.array([0.299, 0.587, 0.114])
    b, c, s = 1.3, 0.6, 1.5
    x = np.clip(b * x, 0, 1)
    x = np.clip(c * x + (1 - c) * (x @ luma).mean(), 0, 1)
    x = np.clip(s * x + (1 - s) * (x @ luma)[..., np.newaxis], 0, 1)
    assert_allclose(ColorJitter((b, b), (c, c), (s, s)).apply(IMAGES[:1]), x, atol=1e-5)


@pytest.mark.parametrize("images", [BYTES, BYTES[..., :1], BYTES.astype(np.float32) / 255])
def test_a_jitter_of_nothing_changes_nothing(images):
    assert_allclose(ColorJitter().apply(images), images, atol=1e-6)


def test_grey_images_have_brightness_and_contrast():
    grey = IMAGES[..., :1]
    f = 0.4
    expected = f * grey + (1 - f) * grey.mean(axis=(1, 2, 3), keepdims=True)
    assert_allclose(ColorJitter(contrast=(f, f), saturation=0.5).apply(grey), expected, atol=1e-6)


def test_factors_fill_their_range_evenly():
    """Of images that are 0.25 everywhere, brightness of 0.8 makes 0.05 (a range never begins below 0) to 0.45."""
    y = ColorJitter(brightness=0.8).apply(np.full((N, 1, 1, 1), 0.25))
    factors = y.ravel() / 0.25
    assert_allclose([factors.min(), factors.max()], [0.2, 1.8], atol=0.001)
    assert abs(factors.mean() - 1) < 5 * np.sqrt(1.6**2 / 12 / N)
    assert ColorJitter(brightness=3).ranges[0].tolist() == [0, 4]


# AlexNet's noise


def test_principal_colors_are_those_of_the_covariance():
    colors = principal_colors(BYTES)
    covariance = np.cov(BYTES.reshape(-1, 3).T / 255, bias=True)
    P, values = colors.eigenvectors, colors.eigenvalues
    assert_allclose(covariance @ P, P * values, atol=1e-12)
    assert_allclose(P.T @ P, np.eye(3), atol=1e-12)
    assert values.tolist() == sorted(values, reverse=True)
    assert (P.sum(axis=0) >= 0).all()
    assert_allclose(principal_colors(BYTES / 255).eigenvalues, values, atol=1e-7)


def test_the_noise_is_the_paper_s_formula():
    colors = principal_colors(BYTES)
    images = np.full((2, 3, 4, 3), 0.5)
    y = ColorNoise(colors, 0.1).apply(images, Draws(2, 1, [5, 6]))
    a = 0.1 * Draws(2, 1, [5, 6]).normal(3)
    for n in range(2):
        added = sum(colors.eigenvectors[:, k] * a[n, k] * colors.eigenvalues[k] for k in range(3))
        assert_allclose(y[n], np.broadcast_to(0.5 + added, (3, 4, 3)), atol=1e-6)


def test_the_statistics_of_the_noise():
    """Along each axis of colour the noise has the deviation 0.1 times its eigenvalue, and none across."""
    colors = transforms.PrincipalColors(np.array([1.0, 0.5, 0.2]), np.linalg.qr(RNG.standard_normal((3, 3)))[0])
    added = ColorNoise(colors).apply(np.full((N, 1, 1, 3), 0.5)).reshape(N, 3) - 0.5
    along = added @ colors.eigenvectors
    assert_allclose(along.std(axis=0), [0.1, 0.05, 0.02], rtol=5 / np.sqrt(2 * N))
    assert_allclose(np.corrcoef(along.T), np.eye(3), atol=5 / np.sqrt(N))


def test_bytes_get_the_same_noise_rounded_and_stay_in_their_range():
    colors = transforms.PrincipalColors(np.array([1.0, 0.5, 0.2]), np.eye(3))
    draws = [Draws(0, 0, range(4)) for _ in range(2)]
    y = ColorNoise(colors, 3).apply(BYTES, draws[0])
    assert_allclose(y, 255 * ColorNoise(colors, 3).apply(BYTES / 255, draws[1]), atol=0.5 + 1e-3)
    assert y.min() == 0
    assert y.max() == 255


# Cutout


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_cutout_hides_a_square_around_any_pixel(size):
    H, W = 5, 7
    y = transforms.Cutout(size, value=9).apply(np.zeros((N, H, W, 2), np.uint8))
    places = {}
    for i in range(H):
        for j in range(W):
            expected = np.zeros((H, W, 2), np.uint8)
            for r in range(H):
                for c in range(W):
                    if 0 <= r - (i - size // 2) < size and 0 <= c - (j - size // 2) < size:
                        expected[r, c] = 9
            places.setdefault(expected.tobytes(), []).append((i, j))
    counts = dict.fromkeys(places, 0)
    for image in y:
        counts[image.tobytes()] += 1
    for image, middles in places.items():
        expected = N * len(middles) / (H * W)
        assert abs(counts[image] - expected) < 5 * np.sqrt(expected)


def test_what_is_not_hidden_stays():
    y = transforms.Cutout(3, value=0.5).apply(IMAGES)
    assert ((y == IMAGES) | (y == 0.5)).all()
    assert ((y == 0.5).all(axis=3).sum(axis=(1, 2)) >= 4).all()


# Normalize


def test_normalize_is_the_formula():
    y = transforms.Normalize(MEAN, STD).apply(BYTES)
    for c in range(3):
        assert_allclose(y[..., c], (BYTES[..., c] / 255 - MEAN[c]) / STD[c], atol=1e-6)
    assert_allclose(transforms.Normalize(MEAN, STD).apply(BYTES / 255), y, atol=1e-6)


@SLOW
def test_normalize_is_torchvision_s():
    expected = as_numpy(torch_functional().normalize(as_torch(IMAGES), MEAN, STD))
    assert_allclose(transforms.Normalize(MEAN, STD).apply(IMAGES), expected, atol=1e-6)


# Mixup


def mixed(labels, seed=0, alpha=0.4):
    return transforms.Mixup(alpha, 5)(IMAGES, labels, np.random.default_rng(seed))


def test_a_mixture_is_of_two_samples_and_of_their_labels_alike():
    labels = np.array([3, 0, 4, 1])
    for seed in range(20):
        x, targets = mixed(labels, seed)
        assert x.dtype == targets.dtype == np.float32
        assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
        for n in range(4):
            own = targets[n, labels[n]]
            others = [k for k in range(4) if k != n and targets[n, labels[k]] > 0]
            assert len(others) <= 1
            partner = others[0] if others else n
            assert_allclose(x[n], own * IMAGES[n] + (1 - own) * IMAGES[partner], atol=1e-6)


def test_probabilities_are_mixed_as_labels_are():
    labels = np.array([3, 0, 4, 1])
    for result, other in zip(mixed(labels), mixed(np.eye(5)[labels]), strict=True):
        assert_array_equal(result, other)


def test_shares_have_the_beta_distribution():
    """Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1))."""
    mixup, rng = transforms.Mixup(0.4, 2), np.random.default_rng(0)
    x, labels = np.zeros((2, 1, 1, 1), np.float32), np.array([0, 1])
    shares = np.array([mixup(x, labels, rng)[1][0] for _ in range(4000)])
    moved = shares[np.isin(shares[:, 0], (0, 1), invert=True)][:, 0]  # where the other sample was the partner
    variance = 1 / (4 * 1.8)
    assert abs(moved.mean() - 0.5) < 5 * np.sqrt(variance / len(moved))
    assert abs(moved.var() - variance) < 0.02


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0, 1, 2, 5]), "labels from 0 to 4, got 0 to 5"),
        (np.array([0, -1, 2, 4]), "labels from 0 to 4, got -1 to 4"),
        (np.array([0, 1, 2]), r"got int64 of shape \(3,\)"),
        (np.eye(4), r"got float64 of shape \(4, 4\)"),
        (np.array([0.0, 1, 2, 3]), "got float64"),
    ],
)
def test_labels_that_fit_not_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        mixed(labels)
