"""Numbers from the bytes of a file."""

import numpy as np

# Bytes of one number of each dtype that weights are kept in.
ITEMSIZE = {
    **{"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2},
    **{"int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1},
}


def numbers_from(raw: bytes | bytearray, dtype: str, swapped: bool = False) -> np.ndarray:
    """The bytes as numbers, one axis; bytes left over behind the last one are left out.

    dtype: a key of ITEMSIZE. bfloat16, the upper half of a float32, comes as the float32 with a lower half of zeros.
    swapped: the bytes of each number stand in the order of a big-endian machine.
    """
    whole = len(raw) - len(raw) % ITEMSIZE[dtype]
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder(">" if swapped else "<")
    numbers = np.frombuffer(memoryview(raw)[:whole], stored)
    numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    return (numbers.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else numbers
