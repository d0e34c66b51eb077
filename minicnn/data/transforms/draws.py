"""The random numbers of each sample: a function of seed, epoch, sample and position, without any state to share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minicnn import _random, kernels

# Stands in the counter where dropout has the number of its layer, which counts up from 0: so that no mask is drawn
# from the words of an augmentation.
AUGMENTATION = 2**32 - 1


class Draws:
    """The random numbers of the samples of a batch; each sample has a sequence of its own.

    seed: 0 to 2^64 - 1; epoch: 0 to 2^32 - 1; indices: (n,) the numbers of the samples in their data set, each 0 to
    2^32 - 1. Number `position` of a sample's sequence is, with its 32 random bits as a fraction,

        u = word * 2^-32
        word = philox4x32(counter=(position // 4, sample, epoch, 2^32 - 1),
                          key=(seed % 2^32, seed // 2^32))[position % 4]

    It depends on nothing else: not on who shares the batch, nor on the order, nor on threads. Each call of `uniform`
    or `normal` moves every sample on to its next numbers, so a transform must always ask for as many: also for the
    samples that it will leave as they are.

    Raises TypeError and ValueError for numbers that are not whole or out of range.

    Source: Salmon, Moraes, Dror & Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 5.1.
    """

    def __init__(self, seed: int, epoch: int, indices: np.ndarray | Sequence[int]) -> None:
        self.seed = _whole("seed", seed, 2**64)
        self.epoch = _whole("epoch", epoch, 2**32)
        self.indices = _checked_indices(indices)
        self.position = 0

    def __len__(self) -> int:
        return len(self.indices)

    def uniform(self, k: int) -> np.ndarray:
        """(n, k) numbers from 0 up to and without 1, float64: k for each sample."""
        k = _whole("k", k, 2**32)
        first, start = divmod(self.position, 4)
        groups = -(-(start + k) // 4)
        counter = np.empty((len(self), groups, 4), np.uint32)
        counter[:, :, 0] = first + np.arange(groups)
        counter[:, :, 1] = self.indices[:, np.newaxis]
        counter[:, :, 2] = self.epoch
        counter[:, :, 3] = AUGMENTATION
        key = np.array([self.seed & 0xFFFFFFFF, self.seed >> 32], np.uint32)
        words = kernels.room(counter).philox4x32(counter, key)
        self.position += k
        words = words.reshape(len(self), 4 * groups)  # (n, groups, 4) -> (n, 4 * groups)
        return words[:, start : start + k] * 2.0**-32

    def normal(self, k: int) -> np.ndarray:
        """(n, k) numbers of the standard normal distribution, float64: sqrt(-2 ln(1 - u)) cos(2 pi v), from 2 k draws.

        Source: Box & Muller, "A note on the generation of random normal deviates", 1958.
        """
        u, v = np.split(self.uniform(2 * k), 2, axis=1)
        return np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)

    def part(self, i: int) -> Draws:
        """The Draws of sample i of the batch alone, at the same position."""
        one = Draws(self.seed, self.epoch, self.indices[i : i + 1])
        one.position = self.position
        return one

    def generators(self) -> list[np.random.Generator]:
        """A generator of NumPy for each sample, and a step on: for functions that draw in their own way."""
        self.position += 1
        numbers = self.position - 1
        return [
            _random.generator(self.seed, _random.AUGMENTATION, self.epoch, index, numbers)
            for index in self.indices.tolist()
        ]


def _whole(name: str, value: int, end: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"Draws expected a whole number as {name}, got {value!r}")
    if not 0 <= value < end:
        raise ValueError(f"Draws expected {name} from 0 to {end - 1}, got {value}")
    return int(value)


def _checked_indices(indices: np.ndarray | Sequence[int]) -> np.ndarray:
    """(n,) uint32."""
    array = np.asarray(indices)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise TypeError(f"Draws expected indices (n,) of whole numbers, got {array.dtype} of shape {array.shape}")
    if array.size and not 0 <= array.min() <= array.max() < 2**32:
        raise ValueError(f"Draws expected indices from 0 to 2**32 - 1, got {array.min()} to {array.max()}")
    return array.astype(np.uint32)
