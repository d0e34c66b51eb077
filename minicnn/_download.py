"""Downloading a file once, into the user's cache: from the first of several places that has it, going on where an
earlier attempt stopped, also one of another process that was killed.

What has come lies beside the file, under its name with `.part` behind it, and gets the name itself only when it has
been checked. A server is asked for the bytes that are missing (RFC 9110, section 14: `Range`, 206, 416); one that sends
all of them from the start is taken at its word. Since every file is known by its checksum, what one mirror began
another may end; and where the sum is wrong in the end, everything is asked for anew.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_TIMEOUT = 30  # seconds without an answer
_CHUNK = 2**14  # bytes, which are lost where a connection breaks before they are all there
_LIMIT = 2**30  # bytes; more than any file asked for: a server that never stops must not fill the disk
_RETRIES = 2  # after a connection that failed and brought nothing
_PAUSE = 1  # second before each of them
_CONNECTIONS = 1000  # for one file, also if each brings a byte


def cache_folder() -> Path:
    """Where downloaded files are kept: $MINICNN_CACHE if that is set, else minicnn in $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("MINICNN_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    return (Path(shared) if os.path.isabs(shared) else Path.home() / ".cache") / "minicnn"


def download_file(urls: Sequence[str], path: Path, check: Callable[[Path], object], cure: str) -> None:
    """Download a file to `path`; whatever stands at `path` at any moment is the whole, checked file.

    urls: where it is published, asked in this order.
    check: raises ValueError where the file at the path that it is given is not the one expected.
    cure: what a user can do without the network, a phrase for the end of an error.

    Of several processes that want a file one downloads it, and the others wait.
    Raises OSError where no place has it, or it cannot be written; and ValueError where what came is not the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _claimed(path):
            faults = {} if path.exists() else _from_the_first(urls, path, check)  # another process may have been first
    except OSError as error:
        reason = (
            f"{error.strerror or error}: {path.name} was not downloaded; set MINICNN_CACHE to another folder, or {cure}"
        )
        raise OSError(error.errno, reason, str(path.parent)) from error
    if faults:
        raise _summary(faults, cure)


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Wait until no other process has the file; the operating system ends a claim when its process dies."""
    from filelock import FileLock

    lock = FileLock(f"{path}.lock")
    with lock:
        try:
            yield
        finally:  # while it is held: who waits for it finds that it is gone, and makes another
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)


def _from_the_first(urls: Sequence[str], path: Path, check: Callable[[Path], object]) -> dict[str, Exception]:
    """The file from the first place that has it; or what is wrong with each."""
    part, faults = path.with_name(f"{path.name}.part"), dict[str, Exception]()
    for url in urls:
        try:
            _fetch_and_check(url, part, check)
            os.replace(part, path)
            return {}
        except (_Unavailable, ValueError) as error:
            faults[url] = error
    return faults


class _Unavailable(Exception):
    """The network or the server does not give the file."""


class _TooLarge(_Unavailable):
    """More came than any file has that is asked for."""


def _summary(faults: dict[str, Exception], cure: str) -> Exception:
    """What went wrong at each place, in one error."""
    said = {
        url: f"{'it did not deliver the file expected: ' * isinstance(fault, ValueError)}{fault}"
        for url, fault in faults.items()
    }
    if all(isinstance(fault, ValueError) for fault in faults.values()):
        places = "; ".join(f"{url} {fault.removeprefix('it ')}" for url, fault in said.items())
        return ValueError(f"{places}; try again, or {cure}")
    return OSError(f"could not download {'; nor '.join(f'{url}: {fault}' for url, fault in said.items())}; {cure}")


def _fetch_and_check(url: str, part: Path, check: Callable[[Path], object]) -> None:
    """The whole, checked file at `part`. Raises _Unavailable, and keeps what has come; or ValueError."""
    resumed = _size(part) > 0
    try:
        _fetch(url, part)
        check(part)
    except _TooLarge:
        part.unlink(missing_ok=True)
        raise
    except ValueError:
        part.unlink(missing_ok=True)
        if not resumed:
            raise
        _fetch_and_check(url, part, check)  # what lay there was of another file, or half written when the power failed


def _fetch(url: str, part: Path) -> None:
    """Ask for what is missing until nothing is, as long as connections bring something before they break."""
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    failures, fault = 0, "the connection was closed too early"
    for _ in range(_CONNECTIONS):
        before = _size(part)
        try:
            if _receive(url, part):
                return
        except (RequestException, HTTPError) as error:
            fault = _reason(error)
        failures = 0 if _size(part) > before else failures + 1
        if failures > _RETRIES:
            break
        time.sleep(_PAUSE if failures else 0)
    raise _Unavailable(fault)


def _receive(url: str, part: Path) -> bool:
    """Append what one connection brings. Returns whether the file is complete, as far as the server says."""
    import requests

    have = _size(part)
    # Not compressed on its way: the bytes are counted, and the file itself may be a gzip file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        said = response.headers.get("Content-Range", "")
        if have and response.status_code == 416:  # there is nothing behind what is here; or this is of another file
            if said != f"bytes */{have}":
                part.unlink()
            return said == f"bytes */{have}"
        if response.status_code not in (200, 206):
            raise _Unavailable(f"HTTP Error {response.status_code}: {response.reason}")
        start = 0 if response.status_code != 206 or said.startswith("bytes 0-") else have
        if start and not said.startswith(f"bytes {start}-"):
            raise _Unavailable(f"asked for the bytes from {start} on, it sent {said or 'some'}")
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        _write(response.raw, part, start, total, url)
    return total is None or _size(part) >= total


def _write(stream: Any, part: Path, start: int, total: int | None, url: str) -> None:
    """Write what comes behind the first `start` bytes of the file, and show how far it is."""
    from tqdm import tqdm

    size = start
    # disable=None: no progress bar where nobody looks, in a log or a pipe.
    with (
        open(part, "ab") as file,
        tqdm(desc=url.rpartition("/")[2], total=total, initial=start, unit="B", unit_scale=True, disable=None) as bar,
    ):
        file.truncate(start)
        for chunk in stream.stream(_CHUNK, decode_content=False):
            size += len(chunk)
            if max(size, total or 0) > _LIMIT:
                raise _TooLarge(f"it is larger than {_LIMIT} bytes")
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())  # a power cut shall not leave the name of the whole file on half of one


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: Exception) -> str:
    """Why nothing came, in a few words: requests quotes the objects of four layers."""
    if "timed out" in str(error):
        return f"no answer for {_TIMEOUT} seconds"
    return f"no connection ({type(error).__name__})"
