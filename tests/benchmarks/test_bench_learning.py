"""Every family learns: its small network knows 64 digits by heart, all of them."""

import json

import numpy as np
import pytest
from scripts import run

QUICK = ["lenet5", "resnext14_8x4d"]
SLOW = ["lenet1", "lenet4", "alexnet", "nin", "zfnet", "vgg11", "vgg11_bn", "googlenet", "digit_cnn", "highway",
        "highway:fully_connected", "resnet18", "resnet20", "plain20", "preresnet20", "wide_resnet10_2",
        "squeezenet1_0", "densenet22_12", "pyramidnet20_a48", "xception", "mobilenet_v1", "mobilenet_v2"]  # fmt: skip


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_each_family_learns_64_digits_by_heart(name):
    from bench_learning import learn_by_heart
    from small_networks import small_networks

    assert learn_by_heart(small_networks()[name]) is not None


def test_all_networks_are_tried():
    from small_networks import small_networks

    assert set(small_networks()) == {*QUICK, *SLOW}


def test_what_it_says_and_writes(tmp_path):
    path = tmp_path / "a.json"
    options = ("lenet5", "--images", 320, "--test-images", 200, "--epochs", 4, "--threads", 1, "--json", path)
    text = run("bench_learning.py", *options)
    assert max(map(len, text.splitlines())) <= 80
    content = json.loads(path.read_text())
    (lenet5,) = content["networks"]
    assert content["settings"] == {"images": 320, "test images": 200}
    assert lenet5["parameters"] == 61_706
    assert lenet5["by_heart"] >= 2
    assert lenet5["epochs"] == 4
    assert 0.5 < lenet5["accuracy"] < 1  # far above a guess; far from perfect after 80 steps
    assert f"{100 * lenet5['accuracy']:.1f} %" in text


def test_on_a_gpu(cupy, cli, monkeypatch, tmp_path, capsys):
    """Two digits, each twice, on the emulator: they are not learnt by then."""
    import bench_learning

    path, devices, true = tmp_path / "a.json", set(), bench_learning._trainer

    def trainer(*given):
        made = true(*given)
        devices.update(parameter.device for parameter in made.model.parameters())
        return made

    monkeypatch.setattr(bench_learning, "_trainer", trainer)
    monkeypatch.setattr(bench_learning, "HEARTFELT", 2)
    monkeypatch.setattr(bench_learning, "MOST_EPOCHS", 1)
    monkeypatch.setattr(cli, "set_threads", lambda threads, with_torch: None)
    for name in cli.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")
    options = ("lenet5", "--images", 2, "--test-images", 2, "--epochs", 1, "--threads", 1, "--device", "cuda")
    monkeypatch.setattr("sys.argv", ["bench_learning.py", *map(str, options), "--json", str(path)])
    assert bench_learning.main() == 1
    content = json.loads(path.read_text())
    assert content["machine"]["gpu"] == "Emulated GPU"
    assert "gpu            Emulated GPU" in capsys.readouterr().out
    assert devices == {"cuda"}


@pytest.mark.slow
def test_a_file_grows(tmp_path):
    path = tmp_path / "a.json"
    options = ("--images", 16, "--test-images", 20, "--epochs", 1, "--threads", 1, "--json", path)
    run("bench_learning.py", "highway:fully_connected", *options)
    (first,) = json.loads(path.read_text())["networks"]
    run("bench_learning.py", "lenet5", *options)
    lenet5, last = json.loads(path.read_text())["networks"]  # in the order of small_networks
    assert lenet5["network"] == "lenet5"
    assert last == first
    assert "with other settings" in run("bench_learning.py", "lenet5", *options, "--images", 17, status=1)
    assert json.loads(path.read_text())["networks"] == [lenet5, first]


def test_a_network_that_it_does_not_know():
    assert "there is no resnet50; there are lenet1," in run("bench_learning.py", "resnet50", status=2)


def test_digits_are_enlarged_pixel_by_pixel():
    from bench_learning import digits, enlarged

    train, test = digits(28, 5, 3)
    assert (len(train), len(test)) == (5, 3)
    assert train.images.shape == (5, 28, 28, 1)
    large = enlarged(train.images, 96)
    assert large.shape == (5, 96, 96, 3)
    for image, digit in zip(large, train.images[..., 0], strict=True):
        for i in range(96):
            for j in range(96):
                y, x = i // 3 - 2, j // 3 - 2
                inside = 0 <= y < 28 and 0 <= x < 28
                assert np.all(image[i, j] == (digit[y, x] if inside else 0))
