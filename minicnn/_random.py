"""Every random number of the engine comes from a stream named by whole numbers, so a run repeats bit for bit.

A stream is (seed, kind, numbers...): the weights of the third Parameter, the shuffle of epoch 7, the
augmentation of sample 12 in epoch 7. No generator is shared, so none of them can be out of step: what one
layer draws never moves what another draws, and a resumed run needs nothing but the numbers.
"""

import numpy as np

# The kinds of stream. A kind keeps (seed, 3) of the shuffles apart from (seed, 3) of the Parameters.
PARAMETER, SHUFFLE, AUGMENTATION, BATCH, SPLIT = range(5)

_seed = 0
_constructed = 0


def seed(value: int) -> None:
    """Set the seed of every generator of the engine: weights, shuffling, augmentation and dropout.

    value: a whole number from 0 to 2**64 - 1. Without a call the seed is 0.
    What is built after the call depends only on the seed and on the order of construction.
    """
    global _seed, _constructed
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"seed expected a whole number, got {value!r}")
    if not 0 <= value < 2**64:
        raise ValueError(f"seed expected a number from 0 to 2**64 - 1, got {value}")
    _seed, _constructed = int(value), 0


def current_seed() -> int:
    """The seed in force."""
    return _seed


def next_construction_number() -> int:
    """The number of the next thing that will draw (a Parameter, a Dropout): 0, 1, 2, ... since `seed`."""
    global _constructed
    _constructed += 1
    return _constructed - 1


def generator(seed: int, kind: int, *numbers: int) -> np.random.Generator:
    """The generator of the stream (seed, kind, *numbers); the same arguments give the same draws."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(kind, *numbers))
    return np.random.Generator(np.random.Philox(sequence))
