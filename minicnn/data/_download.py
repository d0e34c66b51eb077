"""Downloading one file: into a file beside its place, checked there, and only then renamed."""

import http.client
import os
import secrets
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from minicnn.data.idx import AGAIN

_TIMEOUT = 30  # seconds without an answer
_CHUNK = 2**18  # bytes
_LIMIT = 2**28  # bytes; the largest file has 170 million: a server that never stops must not fill the disk


def download_file(url: str, path: Path, check: Callable[[Path], object], cure: str) -> None:
    """Download the file at `url` to `path`; whatever stands at `path` at any moment is the whole, verified file.

    check: raises ValueError, "path: fault", where the file at a path is not the one expected.
    cure: what a user can do without the network, a phrase for the end of an error.

    Raises OSError where the download fails and ValueError where what came is not the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each download, so that two processes that begin together do not write into one file.
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        _copy(url, beside, cure)
        try:
            check(beside)
        except ValueError as error:
            # The file beside is about to be gone, so the advice to delete it would only confuse.
            fault = str(error).removeprefix(f"{beside}: ").removesuffix(f"; {AGAIN}")
            raise ValueError(f"{url} did not deliver the file expected: {fault}; try again, or {cure}") from error
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _copy(url: str, path: Path, cure: str) -> None:
    with open(path, "xb") as file:
        for chunk in _chunks(url, cure):
            file.write(chunk)


def _chunks(url: str, cure: str) -> Iterator[bytes]:
    """What the server sends; only the network's errors are made into one that says so, a full disk's are not."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            name, received = url.rpartition("/")[2], 0
            # disable=None: no progress bar where nobody looks, in a log or a pipe.
            with tqdm(desc=name, total=response.length, unit="B", unit_scale=True, disable=None) as bar:
                while chunk := response.read(_CHUNK):
                    received += len(chunk)
                    if received > _LIMIT:
                        raise OSError(f"it is larger than {_LIMIT} bytes")
                    bar.update(len(chunk))
                    yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"could not download {url}: {str(error) or type(error).__name__}; {cure}") from error
