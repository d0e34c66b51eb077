"""Writing a file so that at any moment what stands under its name is whole: the old one or the new one."""

import contextlib
import os
import secrets
from pathlib import Path

PathLike = str | os.PathLike[str]


def check_place(path: PathLike, what: str) -> None:
    """Raise if no file can be made at `path`: better before hours of work than after. what: the file, for the error."""
    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a folder: name a file in it, for {what}")
    if not place.parent.is_dir():
        raise FileNotFoundError(f"{place.parent}, the folder of {what}, does not exist: make it first")
    if not os.access(place.parent, os.W_OK):
        raise PermissionError(f"{place.parent}, the folder of {what}, cannot be written to")


def write_whole(path: PathLike, content: bytes, what: str) -> None:
    """Put `content` at `path` by way of a file beside it; a link stays one. Raises OSError that names the path."""
    place = Path(os.path.realpath(path))
    beside = place.with_name(f"{place.name}.{secrets.token_hex(4)}.part")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            # Without it a power cut could leave the new name with the content still missing.
            os.fsync(file.fileno())
        os.replace(beside, place)
    except OSError as error:
        state = f"{what} was not written, and what stood there before is untouched"
        raise OSError(error.errno, f"{error.strerror or error}: {state}", str(place)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
