"""Images rotated, shifted, sheared, zoomed and bent: bilinear, with three kinds of fill."""

import numpy as np

from ._arrays import Array


def warp(x: Array, matrices: Array, displacement: Array | None, fill: str, value: float) -> Array:
    """Each output pixel looks up the place in its image that it comes from, and takes the four pixels around it.

    x: (N, H, W, C), uint8 or floats; matrices: (N, 2, 3), floats;
    displacement: (N, H, W, 2) in the dtype of matrices, in pixels (down, right), or None for none;
    fill: what lies outside of the image, see below; value: of "constant". Result y: (N, H, W, C), dtype of x.

        (h, w) = matrices[n] @ (i, j, 1) + displacement[n, i, j]
        top, left = floor(h), floor(w);  a, b = h - top, w - left
        y[n, i, j, c] = (1 - a) (1 - b) x[n, top, left, c]     + (1 - a) b x[n, top, left + 1, c]
                            + a (1 - b) x[n, top + 1, left, c] +       a b x[n, top + 1, left + 1, c]

    A pixel is a point: (0, 0) is the middle of the first one. uint8 is rounded to the nearest, halves up. Outside,
    a row (and so a column) a b c d goes on

        "nearest"     a a a a | a b c d | d d d d
        "constant"    v v v v | a b c d | v v v v      v = value; the outermost pixels run into it
        "reflect"     d c b a | a b c d | d c b a

    Places must be finite and less than 2^30 pixels away.

    Wolberg, "Digital Image Warping", 1990, chapter 3 (matrices) and section 5.4.2 (bilinear interpolation).
    """
    N, H, W, _ = x.shape
    i, j = np.mgrid[:H, :W].astype(matrices.dtype)
    places = matrices @ np.stack([i.ravel(), j.ravel(), np.ones_like(i.ravel())])  # (N, 2, 3) @ (3, H*W)
    h, w = np.moveaxis(places.reshape(N, 2, H, W), 1, 0)
    if displacement is not None:
        h, w = h + displacement[..., 0], w + displacement[..., 1]
    top, left = np.floor(h).astype(np.intp), np.floor(w).astype(np.intp)
    a, b = (h - top)[..., np.newaxis], (w - left)[..., np.newaxis]
    y = (1 - a) * ((1 - b) * _pixels(x, top, left, fill, value) + b * _pixels(x, top, left + 1, fill, value))
    y += a * ((1 - b) * _pixels(x, top + 1, left, fill, value) + b * _pixels(x, top + 1, left + 1, fill, value))
    return (np.floor(y + 0.5) if x.dtype == np.uint8 else y).astype(x.dtype)


def _pixels(x: Array, h: Array, w: Array, fill: str, value: float) -> Array:
    """x[n, h, w] (N, H, W, C), where h and w (N, H, W) may lie outside."""
    N, H, W, _ = x.shape
    pixels = x[np.arange(N)[:, None, None], _inside(h, H, fill), _inside(w, W, fill)]
    if fill == "constant":
        outside = (h < 0) | (h >= H) | (w < 0) | (w >= W)
        pixels = np.where(outside[..., np.newaxis], x.dtype.type(value), pixels)
    return pixels


def _inside(i: Array, size: int, fill: str) -> Array:
    """The index from 0 to size - 1 that stands for i."""
    if fill == "reflect":
        i = i % (2 * size)
        return np.minimum(i, 2 * size - 1 - i)
    return np.clip(i, 0, size - 1)
