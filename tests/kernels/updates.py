"""What the tests of the optimizers' steps share: every kernel with what it keeps and settings, and how it is called."""

import numpy as np
from numpy.testing import assert_array_equal

# A handful of roundings of numbers near 1 in each of three steps.
TOLERANCE = {np.float32: {"rtol": 5e-6, "atol": 2e-6}, np.float64: {"rtol": 1e-13, "atol": 1e-14}}
ARRAY, COUNT = "an array", "a single number"  # what is kept for a Parameter; None: not this time
# kernel, what is kept, settings; of an average that keeps 0.9999 nothing is left of 1 - 0.9999 once it was rounded
UPDATES = {
    "sgd": ("sgd_update", [ARRAY], [(0.1, 0.9, False, 0.0), (0.1, 0.9, True, 0.01), (0.05, 0.0, False, 0.1)]),
    "sgd without momentum": ("sgd_update", [None], [(0.05, 0.0, False, 0.1)]),
    "lion": ("lion_update", [ARRAY], [(0.1, 0.9, 0.99, 0.0), (0.01, 0.8, 0.9999, 0.1), (0.1, 0.0, 0.0, 0.1)]),
    "lars": ("lars_update", [ARRAY], [(1.0, 0.9, 0.0, 0.1), (0.5, 0.9, 0.01, 0.001), (0.1, 0.0, 0.1, None)]),
    "adagrad": ("adagrad_update", [ARRAY], [(0.1, 1e-10, 0.0), (0.01, 1e-3, 0.1)]),
    "rmsprop": ("rmsprop_update", [ARRAY, None, None], [(0.01, 0.99, 1e-8, 0.0, 0.0), (0.001, 0.9999, 1e-3, 0.0, 0.1)]),
    "rmsprop with momentum": ("rmsprop_update", [ARRAY, None, ARRAY], [(0.01, 0.99, 1e-8, 0.9, 0.0)]),
    "rmsprop centred": ("rmsprop_update", [ARRAY, ARRAY, None], [(0.01, 0.9, 1e-8, 0.0, 0.1)]),
    "rmsprop with both": ("rmsprop_update", [ARRAY, ARRAY, ARRAY], [(0.01, 0.9, 1e-3, 0.9, 0.1)]),
    "adadelta": (
        "adadelta_update",
        [ARRAY, ARRAY],
        [(1.0, 0.95, 1e-6, 0.0), (0.5, 0.9, 1e-4, 0.01), (1.0, 0.999, 1e-6, 0.0), (1.0, 0.9999, 1e-6, 0.0)],
    ),
    "adam": (
        "adam_update",
        [ARRAY, ARRAY, COUNT],
        [(0.1, 0.9, 0.999, 1e-8, 0.0, False), (0.1, 0.8, 0.9999, 1e-3, 0.1, False), (0.1, 0.0, 0.0, 1e-3, 0.1, False)],
    ),
    "adamw": ("adam_update", [ARRAY, ARRAY, COUNT], [(0.1, 0.9, 0.999, 1e-8, 0.1, True)]),
}
SQUARES = ("adadelta", "adagrad")  # these keep sums of squares alone, in which nothing cancels
LAYOUTS = {
    "plain": lambda a: a.copy(),
    "transposed": lambda a: a.copy(order="F"),
    "backwards": lambda a: np.flip(np.flip(a).copy()) if a.ndim else a.copy(),
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a.copy(),
}


def states(optimizer, shape, make):
    """What a kernel keeps for a Parameter: make(shape), a single number, or None."""
    _, kept, _ = UPDATES[optimizer]
    return [None if kind is None else make(shape if kind is ARRAY else ()) for kind in kept]


def steps(room, optimizer, which, shape, dtype, layout):
    """w and what is kept for it after three steps, with one of the kernel's settings."""
    name, _, settings = UPDATES[optimizer]
    rng, place = np.random.default_rng(0), LAYOUTS[layout]
    w = place(np.asarray(rng.standard_normal(shape), dtype))
    kept = states(optimizer, shape, lambda shape: place(np.zeros(shape, dtype)))
    for _ in range(3):
        dw = place(np.asarray(rng.standard_normal(shape), dtype))
        dw.setflags(write=False)
        before = dw.copy()
        lists = (None if a is None else [a] for a in kept)
        assert getattr(room, name)([w], [dw], *lists, *settings[which % len(settings)]) is None
        assert_array_equal(dw, before)
    return [w, *(a for a in kept if a is not None)]


def together(optimizer, shapes, dtypes):
    """A call of a kernel: its name, lists with an array (or None for the list) for each shape and dtype, its numbers.

    The first that is kept is above 2: a mean of squares that is above the square of a mean.
    """
    name, kept, settings = UPDATES[optimizer]
    rng = np.random.default_rng(0)

    def row(kind, least):
        if kind is None:
            return None
        if kind is COUNT:
            return [np.full((), 7, dtype) for _ in shapes for dtype in dtypes]
        return [np.asarray(rng.random(shape) + least, dtype) for shape in shapes for dtype in dtypes]

    return name, [row(ARRAY, 0), row(ARRAY, 0), *(row(kind, 2 * (i == 0)) for i, kind in enumerate(kept))], settings[0]


def copied(rows):
    """Lists of arrays, copied; None stays."""
    return [None if row is None else [a.copy() for a in row] for row in rows]


def singles(rows):
    """The same call for each Parameter alone."""
    count = len(rows[0])
    return [[None if row is None else [row[i]] for row in rows] for i in range(count)]
