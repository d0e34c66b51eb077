"""The rows of the kernels: what races, how far it is from float64, and which layers the networks have."""

import json

import numpy as np
import pytest
from scripts import TINY, TINY_WITH_TORCH, run

from minicnn.kernels import reference


def test_writes_table_and_json(tmp_path):
    text = run("bench_kernels.py", *TINY, "-k", "relu_forward 1", "-k", "sgd_update 1", "--json", tmp_path / "a.json")
    assert max(map(len, text.splitlines())) <= 80
    assert "rows hold" in text
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["machine"]["threads"] == 1
    assert content["machine"]["precision"] == "float32"
    assert {"processor", "cores", "system", "python", "numpy", "numba", "torch"} <= content["machine"].keys()
    assert {row["kernel"] for row in content["rows"]} == {"relu_forward", "sgd_update"}
    for row in content["rows"]:
        assert row["contenders"].keys() == {"reference", "cpu"}
        assert all(c["seconds"] > 0 and len(c["rounds"]) == 1 for c in row["contenders"].values())
        assert row["ratios"]["cpu/reference"] > 0
    assert {mean["rows"]: mean["count"] for mean in content["means"]} == {"relu_forward": 5, "sgd_update": 1}


def test_a_convolution_has_speed_and_error_of_every_algorithm(tmp_path):
    pytest.importorskip("matplotlib")
    from minicnn.kernels.cpu.conv2d import ALGORITHMS

    files = [tmp_path / name for name in ("a.json", "a.png", "b.png")]
    run("bench_kernels.py", *TINY, "-k", "conv2d_forward 1x28x28x1-", "--json", files[0], "--plot", files[1],
        "--roofline", files[2])  # fmt: skip
    content = json.loads(files[0].read_text())
    assert content["peak GFLOP/s"] > 0
    assert content["memory GB/s"] > 0
    (row,) = content["rows"]
    known = {"reference", "cpu", *(f"cpu {name}" for name in ALGORITHMS if name != "auto")}
    assert {"reference", "cpu", "cpu im2col", "cpu implicit_gemm"} <= row["contenders"].keys() <= known
    assert row["multiply-adds"] == 117_600
    for contender in row["contenders"].values():
        speed = 2 * 117_600 / contender["seconds"] / 1e9
        assert contender["GFLOP/s"] == pytest.approx(speed, rel=1e-3)
        assert 0 < contender["error"] < 1e-5
        assert 0 < contender["ulps"] < 10
    assert all(file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for file in files[1:])


@pytest.mark.slow
def test_the_same_operations_as_torch(tmp_path):
    pytest.importorskip("torch")
    run(
        "bench_kernels.py",
        *TINY_WITH_TORCH,
        "-k",
        " 1x1x1x1",
        "-k",
        " 1x2x2x1",
        "-k",
        "128x10",
        "--json",
        tmp_path / "a.json",
    )
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    raced = {name for row in rows for name in row["contenders"] if name.startswith("torch")}
    assert raced == {"torch", "torch nchw", "torch nhwc"}


def test_a_name_that_no_row_has_is_refused():
    assert "no kernel or shape contains no such kernel" in run("bench_kernels.py", "-k", "no such kernel", status=1)


def test_every_kernel_of_the_contract_has_rows_of_one_element_and_more():
    from kernel_cases import cases

    shapes = {}
    for case in cases():
        shapes.setdefault(case.kernel, []).append(case.shape)
    assert shapes.keys() == set(reference.__all__)
    for kernel, given in shapes.items():
        assert len(given) == len(set(given)) >= 3, kernel
        assert given[0].startswith("1"), kernel


@pytest.mark.parametrize("network", ["resnet18", "resnet50", pytest.param("vgg16", marks=pytest.mark.slow)])
def test_the_layers_of_a_network_are_all_its_convolutions(network):
    from conv_cases import layers

    import minicnn as mc
    from minicnn import models, nn

    found = set()

    def note(module, inputs, output):
        if isinstance(module, nn.Conv2d):
            found.add((inputs[0].shape[1:], output.shape[1:], module.kernel_size[0], module.stride[0]))

    with mc.no_grad(), nn.observe(note):
        models.build(network).eval()(mc.tensor(np.zeros((1, 224, 224, 3), np.float32)))
    listed = [(c.x_shape[1:], c.y_shape[1:], c.K, c.stride) for c in layers() if network in c.networks]
    assert set(listed) == found
    assert len(listed) == len(found)


def test_a_layer_of_two_networks_is_one_row():
    from conv_cases import layers

    shared = [c.label for c in layers() if c.networks == ("resnet18", "resnet50")]
    assert "8x56x56x64->64 3x3" in shared
    assert len(shared) == 5


def test_the_work_of_a_case_is_counted():
    from conv_cases import Convolution

    for case in Convolution(2, 14, 6, 16, 5).cases():
        assert case.multiply_adds == 2 * 10 * 10 * 16 * 5 * 5 * 6
        assert case.numbers == 2 * 14 * 14 * 6 + 5 * 5 * 6 * 16 + 2 * 10 * 10 * 16
    (grouped, *_) = Convolution(1, 4, 6, 6, 3, padding=1, groups=6).cases()
    assert grouped.multiply_adds == 4 * 4 * 6 * 9


def test_no_shape_is_too_long_for_its_column():
    from bench_kernels import MEAN_WIDTHS, WIDTHS
    from kernel_cases import cases

    assert sum(WIDTHS) + len(WIDTHS) - 1 <= 80
    assert sum(MEAN_WIDTHS) + len(MEAN_WIDTHS) - 1 <= 80
    assert max(len(case.shape) for case in cases()) <= WIDTHS[0]
    names = [f"{case.kernel} {network}" for case in cases() for network in case.networks]
    assert max(map(len, names)) <= MEAN_WIDTHS[0]


def row(harness, bursts, **work):
    """A Row of those times."""
    from conv_cases import Case
    from kernel_rows import Row

    return Row(Case("kernel", "1x56x56x144->144 3x3 g144", lambda rng: (), **work), harness.Race(bursts), {}, 1e9)


def test_a_row_stays_narrow_whatever_the_times(harness, report):
    from bench_kernels import HEAD, WIDTHS

    for fast, slow in ((1e-9, 999.4), (9.996e-6, 99.96e-6), (0.9996e-3, 0.9996), (123.0, 1e-7)):
        times = {"reference": [fast], "cpu": [slow], "torch nchw": [fast], "torch nhwc": [slow]}
        cells = row(harness, times).cells()
        assert all(len(cell) <= width for cell, width in zip(cells[1:4], WIDTHS[1:4], strict=True)) or slow / fast > 1e6
        assert max(map(len, report.table(HEAD, [cells], WIDTHS).splitlines())) <= 80


def test_a_row_holds_within_five_percent_or_twenty_microseconds(harness):
    def holds(reference, cpu):
        return row(harness, {"reference": [reference], "cpu": [cpu]}).holds

    assert holds(1.0, 1.04)
    assert not holds(1.0, 1.06)
    assert holds(1e-6, 20e-6)
    assert not holds(1e-6, 22e-6)
    assert row(harness, {"cpu": [1.0], "torch": [0.1]}).holds  # raced against PyTorch alone


def test_the_faster_layout_of_torch_counts(harness):
    raced = row(harness, {"cpu": [3.0], "torch nchw": [4.0], "torch nhwc": [2.0]}, multiply_adds=6)
    assert raced.torch == "torch nhwc"
    assert raced.ratios == {"cpu/torch": 1.5}
    assert raced.speed("cpu") == 4.0


def test_error_is_relative_to_the_largest_and_in_last_digits():
    from kernel_rows import error

    exact = np.array([1.0, 2.0, 1024.0])
    digit = 2.0**-23  # the last one of 1
    measured = error(np.float32([1 + 3 * digit, 2 + 2 * digit, 1024]), exact)
    assert measured.relative == 3 * digit / 1024
    assert measured.ulps == 1  # 3, 1 and 0 of each number's own last digit


def test_an_algorithm_that_refuses_a_shape_does_not_race(harness, monkeypatch):
    import kernel_rows
    from conv_cases import Convolution

    monkeypatch.setattr(kernel_rows, "ALGORITHMS", ["auto", "im2col", "none that there is"])
    case = next(Convolution(1, 4, 2, 3, 3).cases())
    raced = kernel_rows.measure(case, harness.Pace(1, 0, 0, 1), 1e9, with_torch=False, attempts=1)
    assert list(raced.race.bursts) == ["reference", "cpu", "cpu im2col"]


def test_a_kernel_that_is_wrong_is_named(harness, monkeypatch):
    import kernel_rows
    from conv_cases import Convolution

    true = reference.conv2d_forward
    monkeypatch.setattr(kernel_rows.cpu, "conv2d_forward", lambda *arguments: true(*arguments) + np.float32(1e-2))
    with pytest.raises(harness.Disagreement, match="conv2d_forward 1x4x4x2->3 3x3: cpu and the float64 reference"):
        kernel_rows.measure(next(Convolution(1, 4, 2, 3, 3).cases()), harness.Pace(1, 0, 0, 1), 1e9, False)


def test_means_are_geometric_and_a_layer_counts_in_each_of_its_networks(harness):
    from bench_kernels import _means

    times = {"cpu": [1.0], "torch": [0.5]}
    rows = [row(harness, times, networks=("a", "b")), row(harness, {"cpu": [1.0], "torch": [8.0]}, networks=("b",))]
    assert _means(rows) == [
        {"rows": "kernel a", "count": 1, "cpu/torch": 2.0},
        {"rows": "kernel b", "count": 2, "cpu/torch": pytest.approx(0.5)},
    ]


def test_short_calls_have_a_mean_of_their_own(harness):
    from bench_kernels import _means

    rows = [row(harness, {"cpu": [time], "torch": [time / 2]}) for time in (19e-6, 21e-6)]
    assert [mean["rows"] for mean in _means(rows)] == ["kernel short", "kernel"]


def test_below_the_ridge_memory_is_the_roof():
    from roofs import Roofs

    roofs = Roofs(peak=100.0, bandwidth=10.0)
    assert [roofs.at(intensity) for intensity in (1, 10, 1000)] == [10, 100, 100]


def test_points_and_roofs_of_a_roofline_have_one_unit(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    import plots
    from roofs import Roofs

    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure.axes[0]))
    points = {"ours": [("conv", 4.0, 6e9), ("linear", 16.0, 9e9)], "theirs": [("conv", 4.0, 5e9)]}
    plots.draw_roofline(tmp_path / "a.png", points, {"roof": Roofs(peak=10e9, bandwidth=2e9)}, "title")
    (axes,) = drawn
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert lines[0] == ([2, 5, 32], [4, 10, 10])  # half of the lowest intensity, the corner, twice the highest
    assert lines[1:] == [([4], [6]), ([16], [9]), ([4], [5]), ([], [])]
    assert [text.get_text() for text in axes.get_legend().texts] == ["roof: 10 GFLOP/s, 2 GB/s", "conv", "linear"]
    assert "(o ours, x theirs)" in axes.get_xlabel()


def test_the_probes_compute_what_they_count():
    import roofs

    from minicnn.kernels.cpu.microkernel import HEIGHT, panel_width

    width, rng = panel_width(4), np.random.default_rng(0)
    rows = rng.standard_normal((2, HEIGHT * roofs.DEPTH), np.float32)
    panels = rng.standard_normal((2, roofs.DEPTH * width), np.float32)
    sums = np.zeros((2, HEIGHT * width), np.float32)
    roofs._multiply_tiles(rows, panels, sums, 3, 2)
    expected = rows.reshape(2, HEIGHT, -1) @ panels.reshape(2, -1, width)
    np.testing.assert_allclose(sums.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)
    a, b, c = np.zeros(1001, np.float32), *rng.standard_normal((2, 1001), np.float32)
    roofs._triad(a, b, c, np.float32(2), 2)
    np.testing.assert_allclose(a, b + 2 * c, rtol=1e-6, atol=1e-6)
