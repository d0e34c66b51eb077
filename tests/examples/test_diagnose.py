"""examples/diagnose.py: each sick network has its finding, one that is well none; its errors."""

import functools
import re

import launch
import pytest

import minicnn as mc
from minicnn import data

FINDINGS = {
    "dead-relu": "1. dead ReLU, 2: 100 % of its units", "saturated": "1. saturated tanh, 1: ",
    "growing": "1. activations grow, ", "vanishing": "1. vanishing gradients, 1: ", "softmax": "1. softmax twice, 1: ",
    "detached": "1. no gradient, body.1.weight: ", "bytes": "1. inputs: the inputs go from 0 to 255",
    "labels": "1. labels: the labels go from 1 to 10", "small-rate": "1. loss does not move: with the learning rate",
}  # fmt: skip


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield launch.module("diagnose", monkeypatch)


@pytest.fixture
def said(script, monkeypatch, capsys):
    """What the script prints, with these options; the digits are read once."""
    monkeypatch.setattr(data, "mnist", functools.cache(data.mnist))

    def run(*options):
        monkeypatch.setattr("sys.argv", ["diagnose.py", *options])
        with mc.kernels.use("reference"):
            script.main()
        return capsys.readouterr().out

    return run


def test_every_sick_network_has_its_finding(script, said):
    assert script.SICK.keys() == FINDINGS.keys()
    for name, finding in FINDINGS.items():
        printed = said("--sick", name, "--batch-size", "16")
        assert ": 1 finding.\n" in printed.splitlines(keepends=True)[0]
        assert printed.splitlines()[1].startswith(finding)


def test_it_says_the_same_from_a_gpu(said, devices):
    printed = [said("--sick", "small-rate", "--batch-size", "8", "--device", device) for device in ("cpu", "cuda")]
    assert devices == {"cpu", "cuda"}
    from_cpu, from_gpu = (re.sub(r"[\d.]+", "", each) for each in printed)
    assert from_gpu == from_cpu


def test_a_network_of_the_catalogue_and_one_of_the_users(said, tmp_path):
    (tmp_path / "net.py").write_text(
        "from minicnn import nn\n\n"
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(None, 10), nn.LogSoftmax())\n"
    )
    assert said("--model", "lenet1", "--lr", "0.02", "--batch-size", "8").endswith(": nothing found.\n")
    options = ("--input-shape", "28", "28", "1", "--batch-size", "8")
    assert said("--model", f"{tmp_path}/net.py:build", *options).endswith(": nothing found.\n")


def test_the_network_of_a_run_is_judged_by_its_own_loss(said, tmp_path):
    model = mc.models.build("lenet5:1998")
    mc.Trainer(model, mc.optim.SGD(model.parameters(), 0.1)).save(tmp_path / "model.safetensors")
    (tmp_path / "run.json").write_text('{"model": "lenet5:1998"}')
    options = ("--weights", str(tmp_path), "--lr", "0.001", "--batch-size", "8")
    assert said(*options) == said("--model", "lenet5:1998", *options)


def test_faults_of_the_users_are_one_sentence(said):
    for options, sentence in (
        (["--batch-size", "0"], "--batch-size expected a number from 1, got 0"),
        (["--model", "lenet6"], "no network is called 'lenet6': did you mean lenet5"),
        (["--lr", "-1"], "SGD expected lr >= 0, got -1"),
    ):
        with pytest.raises(SystemExit, match=sentence) as caught:
            said(*options)
        assert str(caught.value).startswith("diagnose.py: ")


def test_help_fits_a_terminal():
    assert "--sick dead-relu" in launch.help_of("diagnose.py")
