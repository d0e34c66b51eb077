"""Drawings in the form of MNIST's digits: MNIST's own come out as they are."""

import numpy as np
import pytest

from minicnn import data


@pytest.fixture(scope="module")
def digits():
    return data.mnist()[1].images[:, :, :, 0]


def cut_out(image):
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_mnists_test_images_have_their_centres_of_mass_within_half_a_pixel_of_the_centre(digits):
    """What the docstring says of them; ink in whole numbers, so that half a pixel is exactly half."""
    ink, place = digits.astype(np.int64), 2 * (np.arange(28) - 14)
    for axis in (1, 2):
        assert (np.abs(ink.sum(axis=axis) @ place) <= ink.sum(axis=(1, 2))).all()


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 50), (80, 1)])
def test_mnists_digits_stay_as_they_are_wherever_they_are_drawn(digits, top, left):
    """Cut out of their images and laid elsewhere, they are put back on the same pixels."""
    seen = 0
    for image in digits[::25]:
        box = cut_out(image)
        if max(box.shape) != 20:
            continue
        drawing = np.zeros((100, 90), np.uint8)
        drawing[top : top + box.shape[0], left : left + box.shape[1]] = box
        np.testing.assert_allclose(data.normalized_digit(drawing)[:, :, 0], image / 255, atol=1e-6)
        seen += 1
    assert seen > 390


@pytest.mark.parametrize("factor", [2, 5])
def test_an_enlarged_digit_is_shrunk_by_means(digits, factor):
    for image in digits[:50]:
        drawing = cut_out(image).repeat(factor, axis=0).repeat(factor, axis=1)
        np.testing.assert_allclose(data.normalized_digit(drawing)[:, :, 0], image / 255, atol=1e-6)


def test_each_pixel_is_the_mean_of_what_it_covers():
    """30 x 30 cells become 20 x 20: of three cells the middle one is shared by two pixels."""
    drawing = np.random.default_rng(0).uniform(0.1, 1, (30, 30))
    got = cut_out(data.normalized_digit(drawing)[:, :, 0])
    halves = drawing.repeat(2, axis=0).repeat(2, axis=1)  # 60 x 60, of which a pixel covers 3 x 3
    expected = halves.reshape(20, 3, 20, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_proportions_are_kept():
    image = data.normalized_digit(np.ones((60, 15)))[:, :, 0]
    assert cut_out(image).shape == (20, 5)
    assert data.normalized_digit(np.ones((1, 200))).any(axis=(1, 2)).sum() == 1


def test_a_heavy_foot_is_moved_up_and_stays_inside():
    """Its centre of mass would have to go to pixel 14, and with it the head out of the image: it stops at the edge."""
    drawing = np.full((20, 20), 0.001)
    drawing[19, 0] = 1
    image = data.normalized_digit(drawing)[:, :, 0]
    np.testing.assert_allclose(image[0:20, 8:28], drawing, rtol=1e-6)


def test_an_empty_drawing_and_a_dot():
    assert not data.normalized_digit(np.zeros((112, 112), np.uint8)).any()
    drawing = np.zeros((50, 50))
    drawing[7, 9] = 0.5
    image = data.normalized_digit(drawing)
    assert image.shape == (28, 28, 1)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(np.argwhere(image[:, :, 0] == 0.5)[[0, -1]], [[4, 4], [23, 23]])
    assert np.count_nonzero(image) == 400


@pytest.mark.parametrize(
    ("drawing", "error", "said"),
    [
        (np.ones((3, 3), int), TypeError, "of uint8 or floats, got int64"),
        (np.ones((28, 28, 1)), ValueError, r"a drawing \(H, W\), got shape \(28, 28, 1\)"),
        (np.ones((0, 3)), ValueError, r"\(0, 3\)"),
        (np.full((2, 2), np.nan), ValueError, "from 0 .* to 1 .*, got nan to nan"),
        (np.full((2, 2), 1.5), ValueError, "got 1.5 to 1.5"),
        (np.full((2, 2), -0.1), ValueError, "got -0.1"),
    ],
)
def test_what_is_no_drawing_is_refused(drawing, error, said):
    with pytest.raises(error, match=said):
        data.normalized_digit(drawing)
