"""Drawings brought into the form of MNIST's digits, so that a network that has learned those can read them."""

import numpy as np

SIDE, BOX, CENTRE = 28, 20, 14  # of the image, of the box that the digit fills, and the pixel of its centre of mass


def normalized_digit(drawing: np.ndarray) -> np.ndarray:
    """A drawing of any size as MNIST would hold it: an image (28, 28, 1) of float32 from 0 (paper) to 1 (ink).

    What is drawn is cut out, shrunk or enlarged with its proportions until its longer side has 20 pixels, each of them
    the mean of what it covers, and laid where its centre of mass falls on pixel (14, 14); it never leaves the image.
    An empty drawing gives an empty image.

    drawing: (H, W), uint8 of 0 to 255 or floats of 0 to 1, 0 for the paper.
    Raises TypeError for another dtype, ValueError for another shape and for values out of range.

    Source: LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998, section
    III.A. Which pixel is the centre, the files tell: in each of MNIST's test images the centre of mass lies within half
    a pixel of it.
    """
    ink = _checked(drawing)
    image = np.zeros((SIDE, SIDE, 1), np.float32)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return image
    digit = _resized(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    (h, w), (top, left) = digit.shape, (_start(digit.sum(axis=1)), _start(digit.sum(axis=0)))
    image[top : top + h, left : left + w, 0] = digit
    return image


def _checked(drawing: np.ndarray) -> np.ndarray:
    """The ink, (H, W) of float64 from 0 to 1."""
    drawing = np.asarray(drawing)
    if drawing.dtype.kind != "f" and drawing.dtype != np.uint8:
        raise TypeError(f"normalized_digit expected a drawing of uint8 or floats, got {drawing.dtype}")
    if drawing.ndim != 2 or drawing.size == 0:
        raise ValueError(f"normalized_digit expected a drawing (H, W), got shape {drawing.shape}")
    ink = drawing / 255 if drawing.dtype == np.uint8 else drawing.astype(np.float64)
    if not ((ink >= 0) & (ink <= 1)).all():  # NaN is neither
        raise ValueError(
            f"normalized_digit expected floats from 0 (paper) to 1 (ink), got {drawing.min():g} to {drawing.max():g}"
        )
    return ink


def _resized(box: np.ndarray) -> np.ndarray:
    """(h, w), the longer of which is BOX: each pixel the mean of the part of the box that it covers."""
    scale = BOX / max(box.shape)
    rows, columns = (_shares(max(1, round(side * scale)), side) for side in box.shape)
    return rows @ box @ columns.T


def _shares(count: int, side: int) -> np.ndarray:
    """(count, side): of new pixel i, which is side / count old ones long, the share that lies on old pixel j."""
    edges = np.linspace(0, side, count + 1)
    old = np.arange(side)
    common = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.maximum(common, 0) * (count / side)


def _start(mass: np.ndarray) -> int:
    """Where a line of ink begins, so that its centre of mass lies at CENTRE, or as near as the image lets it."""
    centre = mass @ np.arange(len(mass)) / mass.sum()
    start = np.ceil(CENTRE - 0.5 - centre - 1e-9)  # halfway it is the lower one, whatever the sums were rounded to
    return int(np.clip(start, 0, SIDE - len(mass)))
