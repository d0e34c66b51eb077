"""Winograd's convolution: a tile of outputs from fewer products than the definition has, for one group.

In one dimension, two outputs of three weights g need six products by the definition. Winograd's F(2, 3) has four:

    y[0] = m1 + m2 + m3      m1 = (d[0] - d[2]) * g[0]     m2 = (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2
    y[1] = m2 - m3 + m4      m4 = (d[3] - d[1]) * g[2]     m3 = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2

As matrices, y = A.T ((G g) * (B.T d)), where * is number by number. Both axes of an image, m x m outputs at a time:

    forward          y  = A.T ((G w G.T) * (B.T d B)) A        d: the (m + 2) x (m + 2) inputs that the tile sees
    weight gradient  dw = G.T ((B.T d B) * (A dy A.T)) G

summed over channels and over tiles. So there are (m + 2)**2 products where the definition has 9 * m**2: 16 of 36 with
m = 2, 36 of 144 with m = 4. The sums around them cost little when there are many channels: they are made once for each
number of the image, the products once for each filter.

Winograd, "Arithmetic Complexity of Computations", 1980; Lavin & Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016, sections 4.1 (m = 2), 4.2 (the gradients) and 4.3 (m = 4); on the points, Barabasz, Anderson,
Soodhalter & Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", ACM
TOMS 2020.
"""

from collections.abc import Sequence

import numpy as np

from ..geometry import Padding, Pair, output_sizes
from ._arrays import Array, crop, pad

Matrix = list[list[float]]

# Where the two polynomials whose product a convolution is are evaluated, besides at infinity; by the side m of a tile.
# 0, 1, -1, 2 and -2 would do for m = 4, but their powers lie further apart, and more is lost where the sums cancel.
POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)}


def _matrices(points: tuple[float, ...]) -> tuple[Matrix, Matrix, Matrix]:
    """B.T, G and A.T of the algorithm of Toom and Cook: evaluate at the points, multiply, interpolate.

    With n = len(points) + 1 and m = n - 2, row i of G (n x 3) and column i of A.T (m x n) evaluate a polynomial at the
    point p[i]; row i of B.T (n x n) has the coefficients of the product of x - p[j] over all j but i, and G is divided
    by its value at p[i], by which interpolation divides. At infinity only the last coefficient counts.
    """
    others = [[q for q in points if q != p] for p in points]
    values = [float(np.prod([p - q for q in rest])) for p, rest in zip(points, others, strict=True)]
    signs = [1.0 if value > 0 else -1.0 for value in values]  # with the polynomial, so that G is positive
    b_t = [[*(sign * c for c in _coefficients(rest)), 0.0] for sign, rest in zip(signs, others, strict=True)]
    g = [[p**k / abs(value) for k in range(3)] for p, value in zip(points, values, strict=True)]
    a_t = [[*(p**k for p in points), 0.0] for k in range(len(points) - 1)]
    a_t[-1][-1] = 1.0
    return [*b_t, _coefficients(points)], [*g, [0.0, 0.0, 1.0]], a_t


def _coefficients(roots: Sequence[float]) -> list[float]:
    """Of the product of x - root, the constant first."""
    return [float(c) for c in np.polynomial.polynomial.polyfromroots(roots)]


# By the side m of a tile.
B_T, G, A_T = ({m: _matrices(points)[i] for m, points in POINTS.items()} for i in range(3))


def winograd_forward(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, m: int) -> Array:
    """y (N, OH, OW, O) of x (N, H, W, C) and w (3, 3, C, O); for stride and dilation 1."""
    _check(w.shape[:2], stride, dilation)
    OH, OW = output_sizes(x.shape, (3, 3), stride, padding)
    b_t, g, a_t = (np.array(matrix[m], x.dtype) for matrix in (B_T, G, A_T))
    v = _sandwich(b_t, _tiles(pad(x, padding), OH, OW, m, m + 2))
    u = np.einsum("ip,jq,pqco->ijco", g, g, w)
    y = _sandwich(a_t, np.einsum("ntsijc,ijco->ntsijo", v, u))
    N, TH, TW, _, _, O = y.shape
    # (N, TH, TW, m, m, O) -> (N, TH*m, TW*m, O)
    return y.transpose(0, 1, 3, 2, 4, 5).reshape(N, TH * m, TW * m, O)[:, :OH, :OW]


def winograd_backward_input(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair, m: int
) -> Array:
    """dx: the convolution of dy with the kernel turned around and its channels exchanged."""
    turned = w[::-1, ::-1].transpose(0, 1, 3, 2)  # (3, 3, C, O) -> (3, 3, O, C)
    dpadded = winograd_forward(dy, turned, stride, ((2, 2), (2, 2)), dilation, m)
    return crop(dpadded, padding, x_shape[1], x_shape[2])


def winograd_backward_weight(
    dy: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, m: int
) -> Array:
    """dw (3, 3, C, O): the products of what each tile sees with its gradients, summed over the tiles."""
    _check(kernel_size, stride, dilation)
    _, OH, OW, _ = dy.shape
    b_t, g, a_t = (np.array(matrix[m], x.dtype) for matrix in (B_T, G, A_T))
    v = _sandwich(b_t, _tiles(pad(x, padding), OH, OW, m, m + 2))
    d = _sandwich(a_t.T, _tiles(dy, OH, OW, m, m))
    return np.einsum("ip,jq,ijco->pqco", g, g, np.einsum("ntsijc,ntsijo->ijco", v, d))


def _tiles(image: Array, OH: int, OW: int, m: int, side: int) -> Array:
    """(N, TH, TW, side, side, C): the pixels from (i*m, j*m) on for each tile (i, j); 0 behind the image."""
    TH, TW = -(-OH // m), -(-OW // m)
    N, H, W, C = image.shape
    tiles = np.zeros((N, TH, TW, side, side, C), image.dtype)
    for i in range(TH):
        for j in range(TW):
            rows, columns = min(side, H - i * m), min(side, W - j * m)
            tiles[:, i, j, :rows, :columns] = image[:, i * m : i * m + rows, j * m : j * m + columns]
    return tiles


def _sandwich(matrix: Array, tiles: Array) -> Array:
    """M d M.T for each tile d and each channel: (N, TH, TW, p, q, C) -> (N, TH, TW, i, j, C)."""
    return np.einsum("ip,jq,ntspqc->ntsijc", matrix, matrix, tiles)


def _check(kernel_size: tuple[int, ...], stride: Pair, dilation: Pair) -> None:
    if kernel_size != (3, 3) or stride != (1, 1) or dilation != (1, 1):
        raise ValueError(
            f"winograd serves 3x3 kernels with stride 1 and dilation 1, got a kernel of {kernel_size}, "
            f"stride={stride}, dilation={dilation}: use 'auto'"
        )
