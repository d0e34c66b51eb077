"""Writing a file so that at any moment what stands under its name is whole: the old one or the new one."""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PathLike = str | os.PathLike[str]


def check_place(path: PathLike, what: str) -> None:
    """Raise if no file can be made at `path`: better before hours of work than after. what: the file, for the error."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"expected a path for {what}, got {path!r}")
    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a folder: name a file in it, for {what}")
    if not place.parent.is_dir():
        raise FileNotFoundError(f"{place.parent}, the folder of {what}, does not exist: make it first")
    if not os.access(place.parent, os.W_OK):
        raise _unwritable(place, what)


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


def remove_leftovers(path: PathLike) -> None:
    """Remove what writers of `path` left beside it that were killed while they wrote; nobody may be writing now."""
    place = Path(os.path.realpath(path))
    pattern = re.compile(re.escape(place.name) + r"\.[0-9a-f]{8}\.part")
    for beside in place.parent.iterdir():
        if pattern.fullmatch(beside.name):
            with contextlib.suppress(OSError):
                beside.unlink()


@contextmanager
def claimed(path: PathLike, what: str) -> Iterator[None]:
    """`with claimed(path, ...):` no other run has the file meanwhile; what killed ones left beside it is removed.

    The claim is a lock on a file beside it, which the operating system lets go when the process dies, however it
    dies. Raises BlockingIOError where another run has the file, and as `check_place`.
    """
    import filelock  # here: `import minicnn` should not wait for it

    check_place(path, what)
    place = Path(os.path.realpath(path))
    lock = filelock.FileLock(f"{place}.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        taken = f"another run is writing {what} here: wait for its end, or give this run another path"
        raise BlockingIOError(errno.EWOULDBLOCK, taken, str(place)) from None
    except OSError as error:
        raise _unwritable(place, what) from error
    try:
        remove_leftovers(place)
        yield
    finally:
        # While it is held: whoever opened it before finds, once it has the lock, that the file is gone.
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def _unwritable(place: Path, what: str) -> PermissionError:
    return PermissionError(f"{place.parent}, the folder of {what}, cannot be written to: choose another one")
