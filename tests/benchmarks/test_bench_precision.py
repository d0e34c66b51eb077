"""What other precisions cost and save: on a CuPy of ours, and the emulator or, for memory, nothing in it."""

import json
import sys
from types import SimpleNamespace

import fake_cupy
import numpy as np
import pytest
import rounded

import minicnn as mc
from minicnn import data
from minicnn.kernels.cuda import _launch


@pytest.fixture
def bench(monkeypatch):
    """The script's module, on a machine with a GPU that is none."""
    import bench_precision
    import report

    fake_cupy.installed(monkeypatch)
    monkeypatch.setattr(_launch, "float32_matmul_precision", "highest")  # and so again when the test is over
    monkeypatch.setattr(report, "gpu", lambda: {"gpu": "Emulated GPU"})
    return bench_precision


@pytest.mark.parametrize(
    ("model", "image"), [("lenet5", (28, 28, 1)), pytest.param("resnet20", (8, 8, 3), marks=pytest.mark.slow)]
)
def test_every_precision_is_trained_with_every_seed(bench, monkeypatch, tmp_path, capsys, model, image):
    rng = np.random.default_rng(0)
    few = [data.ArrayDataset(rng.integers(0, 256, (2, *image), np.uint8), np.arange(2)) for _ in range(2)]
    path, trained, true = tmp_path / "a.json", [], bench.make_trainer

    def make_trainer(*given, **more):
        trainer = true(*given, **more)
        trained.append((*given[1:3], trainer.precision, _launch.float32_matmul_precision, trainer.capture))
        return trainer

    monkeypatch.setattr(bench, "digits", lambda model: few)
    monkeypatch.setattr(bench, "make_trainer", make_trainer)
    given = ["bench_precision.py", "--model", model, "--epochs", "1", "--seeds", "2", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", given)
    assert bench.main() == 0
    ways = [("float32", "float32", "highest"), ("tf32", "float32", "high"), ("float16", "float16", "highest")]
    assert trained == [
        *((name, 0, precision, products, False) for name, precision, products in ways),
        *((name, seed, precision, products, True) for seed in (0, 1) for name, precision, products in ways),
    ]
    text, content = capsys.readouterr().out, json.loads(path.read_text())
    assert max(map(len, text.splitlines())) <= 80
    assert content["machine"]["gpu"] == "Emulated GPU"
    assert content["machine"]["precision"] == "float32, tf32, float16"
    (network,) = content["networks"]
    assert network["precisions"].keys() == {"float32", "tf32", "float16"}
    for each in network["precisions"].values():
        assert len(each["accuracies"]) == 2
        assert set(each["accuracies"]) <= {0, 0.5, 1}
        assert each["peak bytes"] > 3 * 4 * sum(p.size for p in mc.models.build(model).parameters())


def test_a_run_that_was_cut_off_goes_on(bench, monkeypatch, tmp_path):
    """The GPU is gone in the fifth training, which is TF32's second one."""
    path, trained = tmp_path / "a.json", []
    few = data.ArrayDataset(np.zeros((2, 28, 28, 1), np.uint8), np.arange(2))
    monkeypatch.setattr(bench, "digits", lambda model: (few, few))
    monkeypatch.setattr(bench, "peak_bytes", lambda *given: 100)

    def fit(trainer, *given, **more):
        trained.append(trainer)
        if len(trained) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(mc.Trainer, "fit", fit)
    given = ["bench_precision.py", "--model", "lenet5", "--seeds", "2", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(KeyboardInterrupt):
        bench.main()
    (network,) = json.loads(path.read_text())["networks"]
    assert [len(each["accuracies"]) for each in network["precisions"].values()] == [2, 1, 1]
    monkeypatch.setattr(sys, "argv", [*given, "--add"])
    assert bench.main() == 0
    assert len(trained) == 7
    (network,) = json.loads(path.read_text())["networks"]
    assert [len(each["accuracies"]) for each in network["precisions"].values()] == [2, 2, 2]


def test_the_cpu_has_no_other_precisions(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_precision.py", "--device", "cpu"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "TF32 and float16 are a GPU's" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["lenet5", "resnet20"])
def test_the_memory_of_a_step_falls_by_a_third(bench, monkeypatch, model):
    """What a step holds depends on shapes alone, so nothing need be computed."""
    nothing = SimpleNamespace(get_function=lambda name: lambda *launch, **settings: None)
    monkeypatch.setattr(fake_cupy.FakeGpu, "compile", lambda gpu, file, options: nothing)
    monkeypatch.setattr(mc.Trainer, "check_loss", lambda trainer, loss, batch: loss)
    monkeypatch.setattr(mc.Trainer, "check_weights", lambda trainer: None)
    images = np.zeros((bench.STEPS * bench.BATCH, *mc.models.input_shape(model)), np.uint8)
    few = data.ArrayDataset(images, np.zeros(len(images), np.int64))
    with np.errstate(all="ignore"):
        peaks = {precision: bench.peak_bytes(model, precision, few) for precision in ("float32", "float16")}
    assert peaks["float16"] <= bench.SHARE * peaks["float32"]


def test_digits_are_as_large_as_the_networks_images(bench, monkeypatch):
    mnist = [data.ArrayDataset(each.images[:20], each.labels[:20]) for each in data.mnist()]
    monkeypatch.setattr(data, "mnist", lambda: mnist)
    (train, test), plain = bench.digits("resnet20"), mnist[0]
    assert train.images.shape == test.images.shape == (20, 32, 32, 3)
    for channel in range(3):
        np.testing.assert_array_equal(train.images[7, 2:-2, 2:-2, channel], plain.images[7, :, :, 0])
    assert not train.images[:, [0, 1, 30, 31]].any()
    np.testing.assert_array_equal(train.labels, plain.labels)
    np.testing.assert_array_equal(bench.digits("lenet5")[0].images, plain.images)


def test_resnet20_learns_photographs_where_they_are_named(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_precision.py", "--model", "resnet20", "--cifar10", str(tmp_path)])
    with pytest.raises(SystemExit, match=f"bench_precision.py: {tmp_path}"):
        bench.main()


def test_float16_holds_within_a_tenth_of_a_point_and_two_thirds_of_the_memory(bench):
    def result(accuracies, peak):
        return bench.Result("lenet5", {"float32": [0.99, 0.98], "tf32": [0.99, 0.98], "float16": accuracies},
                            {"float32": 300, "tf32": 300, "float16": peak})  # fmt: skip

    good = result([0.9884, 0.9798], 200)
    assert good.points("float16") == (pytest.approx(-0.09), pytest.approx(0.07))
    assert good.share("float16") == pytest.approx(2 / 3)
    assert good.holds
    assert not result([0.9884, 0.9794], 200).holds
    assert not result([0.99, 0.98], 201).holds
    assert good.row("float16") == ("float16", "98.41", "97.98", "98.84", "-0.090 +- 0.070", "0.0", "0.667")
    assert good.row("float32")[4:] == ("-", "0.0", "-")


@pytest.mark.slow
def test_tf32_and_float16_cost_lenet5_no_accuracy(bench, monkeypatch):
    """By kernels that round as the GPU's do, see rounded.py: at most 0.1 points of what float32 reaches, on average."""
    rounded.installed(monkeypatch)
    result = rounded.train(bench, "lenet5", seeds=3, epochs=2, images=12_000)
    accuracies = result.accuracies
    assert min(accuracies["float32"]) > 0.9
    assert accuracies["tf32"] != accuracies["float32"] != accuracies["float16"]  # or nothing was rounded
    for precision in ("tf32", "float16"):
        assert result.points(precision)[0] >= -bench.POINTS


@pytest.mark.slow
def test_resnet20_learns_in_float16_as_fast_as_in_float32(bench, monkeypatch):
    """The same kernels: nothing becomes too large or too small. So few steps leave its accuracy to chance."""
    rounded.installed(monkeypatch)
    every, _ = bench.digits("resnet20")
    train = data.ArrayDataset(every.images[:1920], every.labels[:1920])
    losses = {}
    for precision in ("float32", "float16"):
        trainer = bench.make_trainer("resnet20", precision, 0, 2, capture=False)
        losses[precision] = trainer.fit(train, 2, batch_size=bench.BATCH, progress=False)["loss"]
    print(losses)
    assert losses["float32"][1] < losses["float32"][0] / 2
    np.testing.assert_allclose(losses["float16"], losses["float32"], rtol=0.25)
