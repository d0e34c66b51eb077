"""Memory: flat over many epochs, and no more of a file in memory than a few batches of it."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from minicnn.data import ArrayDataset, DataLoader

STATUS = Path("/proc/self/status")
needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from /proc")

RESIDENT = """
import json
from pathlib import Path
import numpy as np
from minicnn.data import ArrayDataset, DataLoader, transforms

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024  # MiB
"""


def run(program):
    """What a process of its own prints, as JSON: memory that tests before this one have left does not count."""
    text = RESIDENT + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def sparse(tmp_path):
    """A file of 4 GiB that takes no room on the disk: images (64, 64, 3) of zeros, of which one has a spot."""
    path, count = tmp_path / "images.raw", (4 << 30) // (64 * 64 * 3)
    with open(path, "wb") as file:
        file.truncate(count * 64 * 64 * 3)
        file.seek(300_000 * 64 * 64 * 3 + 7)
        file.write(b"\xff")
    return path, count


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_batch_of_a_memory_mapped_file(sparse, mode):
    path, count = sparse
    images = np.memmap(path, np.uint8, mode, shape=(count, 64, 64, 3))
    if mode == "c":
        images[300_001, 0, 0, 0] = 255  # in memory alone: it must be there when the pages are asked for again
    loader = DataLoader(ArrayDataset(images, np.zeros(count, np.int64)), 100, workers=1)
    (x, _), _ = (next(loader.batches(0, 3000)) for _ in range(2))
    spots = np.argwhere(x).tolist()
    assert spots == [[0, 0, 2, 1], [1, 0, 0, 0]][: 2 if mode == "c" else 1]
    assert (x[x > 0] == 1).all()


@pytest.mark.parametrize(
    "part", [np.s_[:], np.s_[5:40], np.s_[40:5:-1], np.s_[::3], np.s_[:, ::-1], np.s_[:, :, 2:5, :1]]
)
@pytest.mark.parametrize("offset", [0, 1, 4097])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_part_of_a_memory_mapped_file(part, offset, order, tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(50, 20, 20, 3), dtype=np.uint8)
    (tmp_path / "pixels").write_bytes(bytes(offset) + pixels.tobytes(order))
    images = np.memmap(tmp_path / "pixels", np.uint8, "r", offset, (50, 20, 20, 3), order)[part]
    loader = DataLoader(ArrayDataset(images, np.arange(len(images))), 7, shuffle=True)
    for x, labels in loader:
        np.testing.assert_array_equal(x, pixels[part][labels] / np.float32(255))


@needs_proc
@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_reading_a_memory_mapped_file_keeps_memory_flat(sparse, workers):
    path, count = sparse
    first, last = run(f"""
        images = np.memmap({str(path)!r}, np.uint8, "r", shape=({count}, 64, 64, 3))
        loader = DataLoader(ArrayDataset(images, np.zeros({count}, np.int64)), 32, shuffle=True, workers={workers})
        sizes = []
        for number, _ in enumerate(loader):
            sizes.append(resident())
            if number == 120:
                break
        print(json.dumps([sizes[5], max(sizes[5:])]))
        """)
    assert last - first < 8  # MiB, of 47 that were read


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_memory_is_flat_over_many_epochs(workers):
    sizes = run(f"""
        dataset = ArrayDataset(np.zeros((256, 28, 28, 1), np.uint8), np.zeros(256, np.int64))
        loader = DataLoader(dataset, 64, True, transforms.RandomAffine(30), workers={workers})
        sizes = []
        for epoch in range(200):
            for x, labels in loader:
                pass
            sizes.append(resident())
        print(json.dumps(sizes))
        """)
    assert max(sizes) - sizes[20] < 4  # MiB; one image kept of each epoch's would be 0.6, one batch 40
