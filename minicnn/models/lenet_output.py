"""The output units of LeNet-5 of 1998, which compare a code with the picture of each digit, and the loss for them.

Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document Recognition", Proceedings of
the IEEE 86(11), sections II.B and II.C.
"""

from typing import Any

import numpy as np

from .. import functional as F
from .. import nn
from .._tensor import Tensor
from ..device import array_module, is_recording

__all__ = ["map_criterion"]

Array = Any

# Figure 3: the centres of the output units, 7 x 12 pictures of the digits; # is +1, . is -1. The bar above 0, 2, 4
# and 5 is in the figure.
DIGITS = """
.#####.   ...##..   .#####.   #######   .#####.   .#####.   ..####.   #######   .#####.   .#####.
.......   ..###..   .......   .....##   .......   .......   .##....   .....##   ##...##   ##..###
..###..   .####..   .#####.   ....##.   .......   #######   ##.....   .....##   ##...##   ##...##
.##.##.   ...##..   ##...##   ...##..   .##..##   ##.....   ##.....   ....##.   ##...##   ##...##
##...##   ...##..   #....##   ..####.   .##..##   ##.....   ######.   ...##..   .#####.   ##..###
##...##   ...##..   ....##.   .....##   ###..##   .####..   ###..##   ...##..   ##...##   .######
##...##   ...##..   ..###..   .....##   ##...##   ..####.   ##...##   ..##...   ##...##   .....##
##...##   ...##..   .##....   .....##   ##...##   .....##   ##...##   ..##...   ##...##   .....##
.##.##.   ...##..   ##.....   ##...##   ##..###   ##...##   ###..##   ..##...   ##...##   ....##.
..###..   .######   #######   .#####.   .######   .#####.   .#####.   ..##...   .#####.   .####..
.......   .......   .......   .......   .....##   .......   .......   .......   .......   .......
.......   .......   .......   .......   .....##   .......   .......   .......   .......   .......
"""


def digit_bitmaps() -> Array:
    """The pictures of figure 3 as (10, 84) float32 of +1 and -1, each read row by row."""
    rows = [line.split() for line in DIGITS.split("\n") if line]  # 12 lines of 10 pieces of 7 characters
    pictures = ["".join(row[digit] for row in rows) for digit in range(10)]
    return np.array([[1 if cell == "#" else -1 for cell in picture] for picture in pictures], np.float32)


class EuclideanRBF(nn.Module):
    """Output units that measure how far the code of F6 is from the picture of their digit.

    x (N, 84) to (N, 10); y[n, i] = - sum over j of (x[n, j] - bitmaps[i, j])**2. The paper's unit is the distance
    itself, small where the picture fits; minus makes it a logit, so that argmax and the losses keep their meaning.
    bitmaps: (10, 84), figure 3, a buffer: chosen by hand and kept fixed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bitmaps", digit_bitmaps())

    def forward(self, x: Tensor) -> Tensor:
        difference = x.reshape(-1, 1, x.shape[-1]) - Tensor(self.bitmaps)  # (N, 1, 84) - (10, 84) -> (N, 10, 84)
        return -(difference * difference).sum(axis=2)

    def multiply_adds(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        return int(input_shape[-1] * output_shape[-1])


def map_criterion(outputs: Tensor, labels: Array, j: float = 1.0) -> Tensor:
    """The maximum-a-posteriori loss that LeNet-5 was trained with, equation 9, the mean over the batch.

    outputs: (N, K), minus the distances y of the paper. labels: (N,) whole numbers. j: the constant, positive.

    Forward:   loss = 1/N * sum over n of (y[n, labels[n]] + log(e**-j + sum over i of e**-y[n, i]))

    The first term pulls the right picture nearer, the second pushes the others away; e**-j, a class that is always
    at distance j, keeps those that are already further away than j from being pushed for ever. With z = -y it is
    the cross-entropy of the logits [z, -j], and is computed so, because that does not overflow. The paper names no j.

    Raises ValueError for a j that is not positive and for what cross_entropy refuses.
    """
    if not j > 0:
        raise ValueError(f"map_criterion expected j > 0, got {j!r}")
    if outputs.ndim != 2:
        raise ValueError(f"map_criterion expected outputs (N, K), got shape {outputs.shape}")
    N, K = outputs.shape
    truth = labels.data if isinstance(labels, Tensor) else labels
    if getattr(truth, "size", 0) and not is_recording() and int(truth.max()) >= K:
        raise ValueError(f"map_criterion expected labels from 0 to {K - 1} for {K} classes, got {int(truth.max())}")
    xp = array_module(outputs.data)
    always = Tensor(xp.full((N, 1), -j, outputs.dtype))
    return F.cross_entropy(F.concatenate([outputs, always], axis=1), labels)
