"""Weights that others have trained: their files, where they are published, and what their arrays are called.

Files are read into plain arrays by name, in the layout of PyTorch: a convolution's weight is (O, C // groups, KH, KW),
a linear one's (out, in). `Module.load_pretrained` turns them into this engine's and puts them into a network.
"""

import os

import numpy as np

from .names import looks_like, translated
from .published import PUBLISHED, Published, locate

__all__ = ["PUBLISHED", "Published", "locate", "looks_like", "read_weights", "translated"]


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays in a file, by name: one that `torch.save` wrote, in its zip archive or as before, or safetensors.

    What the file is, its first bytes say, not its name. Nothing in it is run, and PyTorch is not needed. The arrays may
    not be written to; bfloat16 comes as float32.

    Raises FileNotFoundError and IsADirectoryError; and ValueError, saying what is wrong, for a file that is damaged,
    truncated, hostile or none of these.
    """
    from . import pth, safetensors_file

    try:
        with open(path, "rb") as file:
            begin = file.read(9)
            file.seek(0)
            if begin.startswith(b"PK\x03\x04"):
                return pth.read_zip(file)
            if begin[8:] == b"{":  # behind the length of the header
                return safetensors_file.read(os.fspath(path))
            if begin[:1] in (b"\x80", b"(", b"}", b"]", b"c"):  # pickles, and those of the first two protocols
                return pth.read_legacy(file)
            raise ValueError("it is neither a file of torch.save nor safetensors; is it whole, and not a web page?")
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {error}") from error
