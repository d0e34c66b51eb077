"""Downloads from servers on this machine that drop, lie, sleep and change their mind."""

import errno
import gzip
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from web_server import NO_SERVER, Site, serve

from minicnn import _download
from minicnn._download import download_file

CONTENT = np.random.default_rng(0).bytes(50_000)
CURE = "put it there yourself"


def check(path):
    if hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(CONTENT).digest():
        raise ValueError("another file")


def site(**settings):
    return Site({"file": CONTENT}, **settings)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(_download, "_PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "file"


def part(path, content=None):
    """What an earlier attempt left."""
    beside = path.with_name("file.part")
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
    return beside


def download(path, *urls):
    download_file([f"{url}file" for url in urls], path, check, CURE)
    assert path.read_bytes() == CONTENT
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def fault(path, *urls, error=OSError):
    with pytest.raises(error) as caught:
        download_file([f"{url}file" for url in urls], path, check, CURE)
    assert not path.exists()
    assert str(caught.value).endswith(f"; {CURE}" if error is OSError else f"; try again, or {CURE}")
    return str(caught.value)


def test_once(path):
    with serve(served := site()) as url:
        download(path, url)
        download(path, url)
    assert served.asked == [("file", None)]


@pytest.mark.parametrize("seed", range(5))
def test_a_connection_that_drops_again_and_again_is_taken_up_where_it_was(path, seed):
    rng = np.random.default_rng(seed)
    with serve(served := site(cut=lambda n: min(n, int(rng.integers(1, 15_000))))) as url:
        download(path, url)
    assert served.sent == len(CONTENT)
    starts = [0 if wanted is None else int(wanted[6:-1]) for _, wanted in served.asked]
    assert starts == sorted(starts)
    assert len(starts) > 3


def test_a_connection_that_drops_at_once_is_tried_again(path):
    numbers = itertools.count()
    with serve(served := site(cut=lambda n: n if next(numbers) == 2 else 0)) as url:
        download(path, url)
    assert len(served.asked) == 3
    with serve(served := site(cut=lambda n: 0)) as url:
        path.unlink()
        assert f"could not download {url}file: no connection (" in fault(path, url)
    assert len(served.asked) == 3


@pytest.mark.parametrize("kept", [1, 20_000, 49_999])
def test_what_an_earlier_attempt_left_is_not_asked_for_again(path, kept):
    part(path, CONTENT[:kept])
    with serve(served := site()) as url:
        download(path, url)
    assert served.asked == [("file", f"bytes={kept}-")]
    assert served.sent == len(CONTENT) - kept


def test_a_file_that_only_lacks_its_name(path):
    part(path, CONTENT)
    with serve(served := site()) as url:
        download(path, url)
    assert served.sent == 0


def test_one_mirror_ends_what_another_began(path):
    with serve(site(cut=lambda n: n if n < 40_000 else 30_000)) as whole, serve(rest := site()) as other:
        part(path, CONTENT[:100])
        download(path, NO_SERVER, other)
        assert rest.asked == [("file", "bytes=100-")]
        path.unlink()
        download(path, whole)


@pytest.mark.parametrize("kept", [0, 20_000, 60_000])
def test_a_server_that_ignores_the_range_starts_anew(path, kept):
    part(path, (CONTENT + CONTENT)[:kept])
    with serve(served := site(ranges=False)) as url:
        download(path, url)
    assert len(served.asked) == 1


@pytest.mark.parametrize("left", [b"x" * 20_000, b"x" * 50_000, b"x" * 60_000, bytes(10) + CONTENT[10:30_000]])
def test_the_rest_of_another_file_is_noticed_and_begun_anew(path, left):
    part(path, left)
    with serve(served := site()) as url:
        download(path, url)
    assert served.asked[-1] == ("file", None)
    assert len(served.asked) == 2


def test_a_server_that_sends_another_range_is_left(path):
    part(path, CONTENT[:100])
    wrong = site(headers={"Content-Range": "bytes 200-49999/50000"})
    with serve(wrong) as first, serve(site()) as second:
        assert "asked for the bytes from 100 on, it sent bytes 200-49999/50000" in fault(path, first)
        download(path, first, second)


def test_more_is_promised_than_comes(path):
    """A server that is asked again says where the file ends; one that cannot be asked is not believed."""
    with serve(site(headers={"Content-Length": "60000"})) as url:
        download(path, url)
    path.unlink()
    with serve(site(headers={"Content-Length": "60000"}, ranges=False)) as url:
        assert f"could not download {url}file: " in fault(path, url)


def test_less_is_promised_than_belongs_to_it(path):
    with serve(site(headers={"Content-Length": "40000"})) as url:
        assert f"{url}file did not deliver the file expected: another file" in fault(path, url, error=ValueError)
    assert not part(path).exists()


@pytest.mark.parametrize("promised", [None, "x", "-5", "1e3"])
def test_no_length_is_promised(path, promised):
    """The end of the file is the end of the connection."""
    with serve(site(headers={"Content-Length": promised})) as url:
        download(path, url)


def test_a_slow_server_is_waited_for_and_a_silent_one_is_not(path, monkeypatch):
    monkeypatch.setattr(_download, "_TIMEOUT", 0.3)
    with serve(site(pause=0.06, pieces=5_000)) as slow:
        download(path, slow)  # longer than 0.3 s in all
    path.unlink()
    monkeypatch.setattr(_download, "_RETRIES", 0)
    with serve(site(cut=lambda n: n if n == len(CONTENT) else time.sleep(1) or 0, pause=1, pieces=20_000)) as silent:
        assert "no answer for 0.3 seconds" in fault(path, silent)
    assert 0 < part(path).stat().st_size < len(CONTENT)


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_the_next_mirror_where_the_first_has_nothing(path, status):
    with serve(first := site(status=status)) as bad, serve(site()) as good:
        download(path, bad, good)
        assert len(first.asked) == 1
        path.unlink()
        message = fault(path, bad, NO_SERVER)
    reason = f"could not download {bad}file: HTTP Error {status}: "
    assert message.startswith(reason)
    assert f"; nor {NO_SERVER}file: no connection (ConnectionError); " in message


def test_the_next_mirror_where_the_first_has_another_file(path):
    with serve(Site({"file": b"<html>"})) as bad, serve(Site({"file": CONTENT[::-1]})) as worse, serve(site()) as good:
        download(path, bad, worse, good)
        path.unlink()
        message = fault(path, bad, worse, error=ValueError)
        assert f"{bad}file did not deliver the file expected: another file; {worse}file did not deliver" in message
        message = fault(path, bad, NO_SERVER)
    assert (
        f"could not download {bad}file: it did not deliver the file expected: another file; nor {NO_SERVER}" in message
    )


@pytest.mark.parametrize("promised", [True, False])
def test_a_server_that_never_stops(path, monkeypatch, promised):
    monkeypatch.setattr(_download, "_LIMIT", 1000)
    with serve(site(headers={} if promised else {"Content-Length": None}, pieces=500)) as url:
        assert "it is larger than 1000 bytes" in fault(path, url)
    assert not part(path).exists()


def test_a_server_that_sends_a_byte_a_connection(path, monkeypatch):
    monkeypatch.setattr(_download, "_CONNECTIONS", 5)
    with serve(served := site(cut=lambda n: 1)) as url:
        fault(path, url)
    assert len(served.asked) == 5
    assert part(path).read_bytes() == CONTENT[:5]


def test_a_gzip_file_is_kept_as_it_is_published(tmp_path):
    """Some servers call such files compressed for the way, which a browser would unpack."""
    packed = gzip.compress(CONTENT)
    with serve(Site({"file": packed}, headers={"Content-Encoding": "gzip"})) as url:
        download_file([f"{url}file"], tmp_path / "file", lambda path: None, CURE)
    assert (tmp_path / "file").read_bytes() == packed


def test_a_server_does_not_choose_the_place(path):
    named = {"Content-Disposition": 'attachment; filename="../../elsewhere"', "Content-Location": "/tmp/elsewhere"}
    with serve(site(headers=named)) as url:
        download(path, url)
    assert [each.name for each in path.parents[1].iterdir()] == [path.parent.name]


def test_a_redirection_is_followed(path):
    with serve(site()) as there, serve(site(status=302)) as here:
        moved = site()
        moved.answer = lambda handler: (
            handler.send_response(302),
            handler.send_header("Location", f"{there}file"),
            handler.end_headers(),
        )
        with serve(moved) as url:
            download(path, url)
        path.unlink()
        assert f"could not download {here}file: HTTP Error 302: " in fault(path, here)  # one that leads nowhere


def test_a_folder_that_takes_no_file(path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with serve(site()) as url:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(
            OSError, match="No space left on device: file was not downloaded; set MINICNN_CACHE"
        ) as caught:
            download_file([f"{url}file"], path, check, CURE)
        assert caught.value.errno == errno.ENOSPC
        monkeypatch.undo()
        monkeypatch.setenv("no_proxy", "*")
        download(path, url)
        with pytest.raises(OSError, match=f"file was not downloaded; set MINICNN_CACHE to another folder, or {CURE}"):
            download_file([f"{url}file"], path / "below" / "file", check, CURE)


SCRIPT = """
import sys
from pathlib import Path
from minicnn import _download

def check(path):
    if path.stat().st_size != 50000:
        raise ValueError("another file")

_download.download_file([sys.argv[1]], Path(sys.argv[2]), check, "")
"""


def start(url, path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, f"{url}file", str(path)], env=environment)


def test_a_process_that_is_killed_leaves_what_the_next_one_needs(path):
    with serve(served := site(pieces=10_000, pause=0.2)) as url:
        process = start(url, path)
        deadline = time.monotonic() + 30
        while (kept := part(path).stat().st_size if part(path).exists() else 0) < 10_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        served.pause = 0
        kept = part(path).stat().st_size
        assert part(path).read_bytes() == CONTENT[:kept]
        download(path, url)
    assert served.asked == [("file", None), ("file", f"bytes={kept}-")]


def test_two_processes_download_once(path):
    with serve(served := site(pieces=10_000, pause=0.1)) as url:
        processes = [start(url, path), start(url, path)]
        assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert path.read_bytes() == CONTENT
    assert len(served.asked) == 1


def test_where_one_process_fails_the_one_that_waits_goes_on(path):
    numbers, results = itertools.count(), []
    with serve(served := site(cut=lambda n: 30_000 if next(numbers) == 0 else n, pieces=10_000, pause=0.05)) as url:

        def attempt():
            try:
                download_file([f"{url}file"], path, check, CURE)
                results.append("whole")
            except OSError:
                results.append("broken")

        threads = [threading.Thread(target=attempt) for _ in range(2)]
        retries, _download._RETRIES = _download._RETRIES, -1
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            _download._RETRIES = retries
    assert results == ["broken", "whole"]
    assert path.read_bytes() == CONTENT
    assert served.sent == len(CONTENT)
