"""Published weights: the table, and downloads from a server on this machine."""

import hashlib
import http.server
import re
import threading

import numpy as np
import pytest
from weight_files import pickled, tensor, zip_file

from minicnn import _download, nn, weights
from minicnn.weights import published

NAME = "linear"
NUMBERS = np.arange(12, dtype="<f4")


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder with the weights of one linear layer, the server that publishes it, and an empty cache."""
    folder = tmp_path / "served"
    folder.mkdir()
    value = {"weight": tensor((3, 4)), "bias": tensor((3,), (1,))}
    path = zip_file(folder / "a", pickled(value), {"0": NUMBERS.tobytes()})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path = path.rename(folder / f"linear-{digest[:8]}.pth")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: Handler(*arguments, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(published, "URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setitem(published.PUBLISHED, NAME, weights.Published(path.name))
    monkeypatch.setattr(_download, "_PAUSE", 0)
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)
    yield path
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_name_is_downloaded_once_and_kept(served, tmp_path):
    model = nn.Linear(4, 3).load_pretrained(NAME)
    np.testing.assert_array_equal(model.weight.numpy(), NUMBERS.reshape(3, 4).T)
    kept = tmp_path / "cache" / "weights" / served.name
    assert kept.read_bytes() == served.read_bytes()
    assert list(kept.parent.iterdir()) == [kept]
    served.unlink()
    nn.Linear(4, 3).load_pretrained(NAME)


def test_a_file_goes_before_a_name(served, tmp_path):
    served.rename(tmp_path / NAME)
    nn.Linear(4, 3).load_pretrained(NAME)
    assert not (tmp_path / "cache").exists()


def test_offline_is_one_sentence_that_says_what_to_do(served, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "URL", "http://127.0.0.1:1/")
    with pytest.raises(OSError, match=r"could not download http://127\.0\.0\.1:1/") as caught:
        nn.Linear(4, 3).load_pretrained(NAME)
    kept = tmp_path / "cache" / "weights" / served.name
    assert str(caught.value) == (
        f"could not download http://127.0.0.1:1/{served.name}: no connection (ConnectionError); download it elsewhere "
        f"and put it at {kept}, or give its path to load_pretrained"
    )
    assert not list(kept.parent.iterdir())


@pytest.mark.parametrize("content", [b"", b"<html>Please sign in</html>", b"PK\x03\x04 changed"])
def test_another_file_than_the_published_is_not_kept(served, tmp_path, content):
    good = served.read_bytes()
    served.write_bytes(content)
    with pytest.raises(ValueError, match=r"did not deliver the file expected: the SHA-256 .* begins with \w{8}, not"):
        nn.Linear(4, 3).load_pretrained(NAME)
    assert not list((tmp_path / "cache" / "weights").iterdir())
    served.write_bytes(good)
    nn.Linear(4, 3).load_pretrained(NAME)


def test_a_file_that_is_gone_from_the_server(served):
    served.unlink()
    with pytest.raises(OSError, match=r"could not download .*: HTTP Error 404: "):
        nn.Linear(4, 3).load_pretrained(NAME)


def test_a_server_that_never_stops(served, tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "_LIMIT", 100)
    with pytest.raises(OSError, match="it is larger than 100 bytes"):
        nn.Linear(4, 3).load_pretrained(NAME)
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_a_damaged_file_in_the_cache_is_named(served, tmp_path):
    nn.Linear(4, 3).load_pretrained(NAME)
    kept = tmp_path / "cache" / "weights" / served.name
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"SHA-256 .*; delete the file, and it is downloaded again") as caught:
        nn.Linear(4, 3).load_pretrained(NAME)
    assert str(kept) in str(caught.value)


def test_every_published_file_bears_its_checksum_and_each_is_another():
    files = [each.file for each in weights.PUBLISHED.values()]
    assert len(set(files)) == len(files) > 20
    for name, each in weights.PUBLISHED.items():
        assert re.fullmatch(rf"{re.escape(name)}\w*(-owt)?-[0-9a-f]{{8}}\.pth", each.file), name
        assert each.short_side in (232, 256, 342)
