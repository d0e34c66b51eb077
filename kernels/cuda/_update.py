"""What the optimizers' steps share: up to 64 Parameters, of whatever sizes, in one launch; see update.cuh."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ._launch import THREADS, addresses, dense, launch, pieces

Array = Any
Column = Sequence[Array | None]

ARRAYS = 64  # the most in one launch, as in update.cuh
PIECES = np.dtype([("arrays", np.int32), ("first", np.int32, (ARRAYS + 1,)), ("size", np.int32, (ARRAYS,))])


def in_place(file: str, kernel: str, columns: tuple[Column, ...], *settings: Any) -> None:
    """One step of all Parameters; columns as of `batches`."""
    for batch in batches(columns):
        batch.launch(file, kernel, *settings)


def batches(columns: tuple[Column, ...]) -> Iterator["Batch"]:
    """The Parameters that are not empty, as many at a time as one launch takes, all of one dtype.

    columns: what is written, weights first, and at the end the gradients. An array that is not dense is copied, and
    written back when the caller is done with its batch.
    """
    parameters = [p for p in zip(*columns, strict=True) if p[0].size]
    for dtype in dict.fromkeys(w.dtype for w, *_ in parameters):
        alike = [p for p in parameters if p[0].dtype == dtype]
        for i in range(0, len(alike), ARRAYS):
            batch = Batch(alike[i : i + ARRAYS])
            yield batch
            batch.write_back()


class Batch:
    """The Parameters of one launch, each with what is kept for it and its gradient: tuples of arrays."""

    def __init__(self, parameters: list[tuple[Array | None, ...]]) -> None:
        self._given: list[tuple[Any, ...]] = parameters
        self._used: list[list[Any]] = [[None if a is None else dense(a) for a in parameter] for parameter in parameters]
        sizes, self.dtype = [w.size for w, *_ in self._used], self._used[0][0].dtype
        first = [0, *accumulate(pieces(size, self.dtype) for size in sizes)]
        self.arrays, self.blocks = len(sizes), first[-1]
        self.cut = np.zeros(1, PIECES)
        self.cut["arrays"], self.cut["first"][0, : len(first)], self.cut["size"][0, : len(sizes)] = (
            len(sizes), first, sizes,
        )  # fmt: skip

    def launch(self, file: str, kernel: str, *settings: Any) -> None:
        """Run a kernel on all pieces: its arguments are how they are cut, a table for each column, and the settings."""
        tables = (addresses(column, ARRAYS) for column in zip(*self._used, strict=True))
        launch(file, kernel, self.dtype, (self.blocks,), (THREADS,), self.cut, *tables, *settings)

    def write_back(self) -> None:
        """Bring what was changed in copies to where it belongs."""
        for given, used in zip(self._given, self._used, strict=True):
            for array, copy in zip(given[:-1], used[:-1], strict=True):
                if copy is not array:
                    array[...] = copy
