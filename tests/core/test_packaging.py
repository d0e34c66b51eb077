"""What a person installs: the wheel and the source distribution hold everything, and work elsewhere."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRY = """
import minicnn as mc, numpy as np
from minicnn import data, functional as F, models
print(mc.__file__)
train, test = data.mnist()
print(len(train), models.lenet5()(mc.tensor(np.zeros((1, 28, 28, 1), np.float32))).shape, mc.kernels.__name__)
"""

pytestmark = pytest.mark.slow


def run(*arguments: object, cwd: Path) -> str:
    done = subprocess.run([str(a) for a in arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> tuple[Path, Path]:
    """(wheel, source distribution), the wheel built from the unpacked source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "venv", "build", cwd=folder)
    run("build/bin/pip", "install", "--quiet", "build", cwd=folder)
    clone = folder / "clone"
    run("git", "clone", "--quiet", ROOT, clone, cwd=folder)
    run(folder / "build/bin/python", "-m", "build", "--outdir", folder / "out", clone, cwd=folder)
    (wheel,), (sdist,) = (list((folder / "out").glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    return wheel, sdist


def test_the_wheel_holds_the_package_and_nothing_else(distributions):
    with zipfile.ZipFile(distributions[0]) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"minicnn"}
    for name in (
        "kernels/cpu/tiles.py",
        "kernels/reference/conv2d.py",
        "data/files/LICENSE.md",
        "data/files/imagenet_classes.txt",
        "study/backprop/web/page.html.j2",
        "py.typed",
        "study/digit_pad/static/pad.js",
        "study/digit_pad/templates/pad.html",
    ):
        assert f"minicnn/{name}" in names
    assert sum(name.endswith("ubyte.gz") for name in names) == 4
    cuda = [path.name for path in (ROOT / "kernels" / "cuda").iterdir() if path.suffix in (".cu", ".cuh", ".py")]
    assert {f"minicnn/kernels/cuda/{name}" for name in cuda} <= set(names)


def test_the_source_distribution_holds_tests_and_examples(distributions):
    with tarfile.open(distributions[1]) as sdist:
        names = ["/".join(name.split("/")[1:]) for name in sdist.getnames()]
    for name in ("kernels/cpu/tiles.py", "examples/train_lenet.py", "tests/core/test_packaging.py", "LICENSE"):
        assert name in names


@pytest.mark.parametrize("how", ["wheel", "sdist", "editable"])
def test_it_works_in_an_empty_environment(distributions, tmp_path, how):
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", ROOT, clone, cwd=tmp_path)
    run(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    target = {"wheel": [distributions[0]], "sdist": [distributions[1]], "editable": ["-e", clone]}[how]
    run("env/bin/pip", "install", "--quiet", *target, cwd=tmp_path)
    elsewhere = run(tmp_path / "env/bin/python", "-c", TRY, cwd=tmp_path)
    assert elsewhere.endswith("60000 (1, 10) minicnn.kernels\n")
    inside = subprocess.run([tmp_path / "env/bin/python", "-c", TRY], cwd=clone, capture_output=True, text=True)
    if how == "editable":
        assert inside.stdout.endswith("60000 (1, 10) minicnn.kernels\n"), inside.stderr
    else:  # in the checkout its folder minicnn/ hides the installed package, and says so
        assert "checkout that is not installed: run `pip install -e .`" in inside.stderr.splitlines()[-1]


def test_the_example_says_what_to_do_without_an_installation(tmp_path):
    run(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    done = subprocess.run(
        [tmp_path / "env/bin/python", ROOT / "examples/train_lenet.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install -e ." in done.stderr
