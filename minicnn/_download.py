"""Downloading a file once, into the user's cache: by pooch, which asks, waits, asks again and renames."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_TIMEOUT = 30  # seconds without an answer
_CHUNK = 2**18  # bytes
_LIMIT = 2**30  # bytes; more than any file asked for: a server that never stops must not fill the disk
_RETRIES = 2  # after a connection that failed; pooch waits a second before the first


def cache_folder() -> Path:
    """Where downloaded files are kept: $MINICNN_CACHE if that is set, else minicnn in $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("MINICNN_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    return (Path(shared) if os.path.isabs(shared) else Path.home() / ".cache") / "minicnn"


def download_file(url: str, path: Path, check: Callable[[Path], object], cure: str) -> None:
    """Download the file at `url` to `path`; whatever stands at `path` at any moment is the whole, checked file.

    check: raises ValueError where the file at the path that it is given is not the one expected.
    cure: what a user can do without the network, a phrase for the end of an error.

    Raises OSError where the download fails and ValueError where what came is not the file.
    """
    import pooch
    from requests.exceptions import RequestException

    def fetch_and_check(url: str, beside: str, asking: Any) -> None:
        _fetch(url, beside)
        check(Path(beside))

    pooch.get_logger().setLevel("WARNING")
    cache = pooch.create(path.parent, "", registry={path.name: None}, urls={path.name: url}, retry_if_failed=_RETRIES)
    try:
        cache.fetch(path.name, downloader=fetch_and_check)
    except RequestException as error:
        raise OSError(f"could not download {url}: {_reason(error)}; {cure}") from error
    except _TooLarge as error:
        raise OSError(f"could not download {url}: {error}; {cure}") from error
    except ValueError as error:
        raise ValueError(f"{url} did not deliver the file expected: {error}; try again, or {cure}") from error


def _fetch(url: str, path: str) -> None:
    """One attempt; the network's errors are RequestExceptions, so that those of a full disk stay what they are."""
    import pooch
    from tqdm import tqdm

    # disable=None: no progress bar where nobody looks, in a log or a pipe. total=1 until pooch knows: a bar without a
    # total is neither true nor false, and pooch asks.
    with (
        open(path, "wb") as file,
        tqdm(desc=url.rpartition("/")[2], total=1, unit="B", unit_scale=True, disable=None) as bar,
    ):
        loader = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, timeout=_TIMEOUT)
        loader(url, _Limited(file), None)


class _TooLarge(Exception):
    """More came than any file has that is asked for."""


class _Limited:
    """A file that takes `_LIMIT` bytes and no more."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.received, self.flush = file, 0, file.flush

    def write(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.received > _LIMIT:
            raise _TooLarge(f"it is larger than {_LIMIT} bytes")
        self.file.write(chunk)


def _reason(error: Any) -> str:
    """What went wrong, in a few words: requests quotes the objects of four layers."""
    if error.response is not None:
        return f"HTTP Error {error.response.status_code}: {error.response.reason}"
    if "timed out" in str(error):
        return f"no answer for {_TIMEOUT} seconds"
    return f"no connection ({type(error).__name__})"
