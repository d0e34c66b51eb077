"""The kernels raced on a GPU: the emulator in its place, and fake_cupy in that of CuPy. The times mean nothing here."""

import json
import re
import sys

import fake_cupy
import numpy as np
import pytest
from scripts import TINY

from minicnn.kernels.cuda import _launch

TF32 = 7  # CuPy's number for it


@pytest.fixture
def bench(cupy, cli, monkeypatch, tmp_path, capsys):
    """bench(cases, *options): the script's exit status, what it printed, and its JSON file."""
    import bench_kernels
    import gpu_cases
    import gpu_roofs
    import gpu_settings
    import roofs

    monkeypatch.setattr(cli, "set_threads", lambda threads, with_torch: None)
    monkeypatch.setattr(roofs, "measure", lambda threads, quick: roofs.Roofs(1e11, 1e10))
    for name, small in {"ROUNDS": dict.fromkeys(gpu_roofs.ROUNDS, 2), "COPIED": 1, "SIDE": 8, "SECONDS": 0}.items():
        monkeypatch.setattr(gpu_roofs, name, small)
    monkeypatch.setattr(gpu_roofs, "BLOCKS", 1)
    for name in cli.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")

    def call(cases, *options, torch=False):
        monkeypatch.setattr(gpu_cases, "cases", lambda: cases)
        monkeypatch.setattr(gpu_settings, "torch_device", lambda options: "cpu" if torch else None)
        path = tmp_path / "a.json"
        given = ["bench_kernels.py", "--device", "cuda", *TINY, "--json", path, *options]
        monkeypatch.setattr(sys, "argv", list(map(str, given)))
        return bench_kernels.main(), capsys.readouterr().out, json.loads(path.read_text())

    return call


def convolution(*shape, **more):
    """The three directions of one."""
    from conv_cases import Convolution

    return list(Convolution(*shape, **more).cases())


def linear(N, I, O):
    """The three directions of one."""
    import kernel_cases

    return list(kernel_cases.linears([(N, I, O)]))


def row(harness, bursts, work=0, moved=8, **more):
    """A GpuRow of those times; the GPU does 10 operations a second, 30 in TF32, and moves 2 bytes; the CPU 1 and 1."""
    from conv_cases import Case
    from gpu_rows import GpuRow
    from roofs import Roofs

    limits = {"cpu": Roofs(1, 1), "float32": Roofs(10, 2), "tf32": Roofs(30, 2)}
    case = Case("kernel", "64x14x14x1024->2048 1x1 s2", lambda rng: (), multiply_adds=work, **more)
    return GpuRow(case, harness.Race(bursts), {}, moved, limits)


def measured(harness, case, *precisions, torch=None):
    """The row of a race whose times mean nothing."""
    import gpu_rows
    from roofs import Roofs

    limits = dict.fromkeys(("cpu", "float32", "tf32"), Roofs(1, 1))
    return gpu_rows.measure(case, harness.Pace(1, 0, 0, 1), limits, gpu_rows.Field(precisions, torch))


# The script


def test_table_file_and_picture(bench, tmp_path):
    pytest.importorskip("matplotlib")
    import kernel_cases

    cases = [*convolution(1, 4, 2, 3, 3), *linear(3, 5, 2), next(kernel_cases.activations([(2, 3)]))]
    pictures = [tmp_path / name for name in ("a.png", "b.png")]
    status, text, content = bench(cases, "--plot", pictures[0], "--roofline", pictures[1])
    assert status == 0
    assert max(map(len, text.splitlines())) <= 80
    assert content["machine"]["gpu"] == "Emulated GPU"
    assert content["machine"]["precision"] == "float32 and tf32"
    assert content["settings"]["device"] == "cuda"
    assert content["limits"].keys() == {"copy GB/s", "multiply_adds TFLOP/s", "tensor_cores TFLOP/s",
                                        "cublas_tf32 TFLOP/s", "cpu peak GFLOP/s", "cpu memory GB/s"}  # fmt: skip
    assert all(value > 0 for value in content["limits"].values())
    products = {"cpu", "cuda", "cuda tf32"}
    algorithms = {"cuda im2col", "cuda implicit_gemm"}
    raced = {each["kernel"]: set(each["contenders"]) for each in content["rows"]}
    assert raced["conv2d_forward"] == raced["conv2d_backward_weight"] == products | algorithms
    assert raced["linear_forward"] == raced["linear_backward_input"] == products | {"cublas", "cublas tf32"}
    assert raced["relu_forward"] == {"cpu", "cuda"}
    assert all(picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for picture in pictures)


def test_what_is_kept_of_a_row(bench):
    _, _, content = bench(convolution(1, 4, 2, 3, 3)[:1], "--precision", "float32")
    (kept,) = content["rows"]
    assert kept["bytes"] == 4 * (4 * 4 * 2 + 3 * 3 * 2 * 3 + 3 + 2 * 2 * 3)
    assert kept["multiply-adds"] == 2 * 2 * 3 * 3 * 3 * 2
    for contender in kept["contenders"].values():
        assert contender["GB/s"] == pytest.approx(kept["bytes"] / contender["seconds"] / 1e9, rel=1e-3)
        assert contender["TFLOP/s"] == pytest.approx(2 * 216 / contender["seconds"] / 1e12, rel=1e-3)
        assert contender["of limit"] > 0
        assert contender["error"] < 1e-6
    assert kept["ratios"].keys() == {"cpu/cuda"}


def test_one_precision_alone(bench):
    _, text, content = bench(linear(3, 5, 2)[:1], "--precision", "tf32")
    assert set(content["rows"][0]["contenders"]) == {"cpu", "cuda tf32", "cublas tf32"}
    assert content["machine"]["precision"] == "tf32"
    (mean,) = (line for line in text.split("geometric means")[1].splitlines() if line.startswith("linear_forward"))
    assert " tf32 " in mean


def test_who_is_wrong_is_not_measured_and_the_others_are(bench, monkeypatch):
    import gpu_rows

    right = gpu_rows.cuda.linear_backward_input
    monkeypatch.setattr(gpu_rows.cuda, "linear_backward_input", lambda *given: 2 * right(*given))
    status, text, content = bench(linear(3, 5, 2))
    assert status == 1
    assert text.count("! linear_backward_input 3x5->2: cuda and the float64 reference disagree") == 2
    assert [each["kernel"] for each in content["rows"]] == ["linear_forward", "linear_backward_weight"]
    assert list(content["failed"]) == ["linear_backward_input 3x5->2"]


def test_a_run_that_was_cut_off_goes_on(bench, monkeypatch, report, tmp_path):
    """The GPU is full in the second row, and gone in the third."""
    import gpu_kernels

    cases, true, asked = linear(3, 5, 2), gpu_kernels.measure, []

    def measure(case, *rest):
        asked.append(case)
        if case is cases[1]:
            raise MemoryError("the GPU's memory is full")
        if case is cases[2]:
            raise KeyboardInterrupt
        return true(case, *rest)

    monkeypatch.setattr(gpu_kernels, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        bench(cases)
    content = json.loads((tmp_path / "a.json").read_text())
    assert [each["kernel"] for each in content["rows"]] == ["linear_forward"]
    assert len(content["means"]) == 1
    assert content["failed"] == {"linear_backward_input 3x5->2": "linear_backward_input 3x5->2: the GPU's memory is "
                                 "full"}  # fmt: skip
    asked.clear()
    monkeypatch.setattr(gpu_kernels, "measure", lambda case, *rest: asked.append(case) or true(case, *rest))
    status, text, grown = bench(cases, "--add")
    assert status == 0
    assert asked == cases[1:]
    assert "1 rows are in the file; 2 are left to measure" in text
    assert grown["rows"][0] == content["rows"][0]
    assert not grown["failed"]
    assert grown["machine"].keys() == content["machine"].keys()
    means = text.split("geometric means")[1]
    assert all(case.kernel in means for case in cases)  # of both runs
    _, text, same = bench(cases, "--add")
    assert "0 are left" in text
    assert same["rows"] == grown["rows"]
    described = report.gpu()
    monkeypatch.setattr(report, "gpu", lambda: described | {"gpu": "another"})
    with pytest.raises(SystemExit, match="of another machine or of other settings"):
        bench(cases, "--add")


def test_means_of_a_group_that_two_runs_measured_are_of_all_its_rows(bench):
    first, second = linear(3, 5, 2)[0], linear(4, 5, 2)[0]
    bench([first])
    _, _, content = bench([first, second], "--add")
    (mean,) = content["means"]
    assert mean["count"] == 2
    ratios = [row["ratios"]["cuda/cublas"] for row in content["rows"]]
    assert mean["cuda/cublas"] == pytest.approx((ratios[0] * ratios[1]) ** 0.5)


def test_pytorch_races_with_its_autotuner_off_and_on(bench, torch_here):
    import readme_gpu

    status, text, content = bench(convolution(1, 4, 2, 3, 3), torch=True)
    assert status == 0, content["failed"]
    assert max(map(len, text.splitlines())) <= 80
    assert "allow_tf32" in content["machine"]["torch tf32"]
    layouts = {f"torch {layout}{tuned}" for layout in ("nchw", "nhwc") for tuned in ("", " tuned")}
    for row in content["rows"]:
        for end in ("", " tf32"):
            assert {f"{layout}{end}" for layout in layouts} < row["contenders"].keys()
            assert {f"cuda{end}/{layout}{end}" for layout in layouts} < row["ratios"].keys()
    assert "throughput over PyTorch's" in text
    assert "Emulated GPU" in next(readme_gpu.machine({"bench_kernels": content}))
    assert torch_here.backends.cudnn.benchmark  # of the last ones


def test_without_the_autotuners_process_the_others_race(bench, torch_here, monkeypatch):
    import gpu_settings

    def no_room(kept, device):
        raise RuntimeError("no room")

    monkeypatch.setattr(gpu_settings, "_tune", no_room)
    status, text, content = bench(convolution(1, 4, 2, 3, 3)[:1], torch=True)
    assert status == 0
    assert "! without PyTorch's autotuner, whose process cannot work: no room" in text
    assert {"torch nchw", "torch nhwc"} < content["rows"][0]["contenders"].keys()
    assert not any("tuned" in name for name in content["rows"][0]["contenders"])


def test_a_picture_of_nothing_is_refused_before_anything_is_measured(bench):
    import kernel_cases

    with pytest.raises(SystemExit, match="--roofline shows matrix products"):
        bench(list(kernel_cases.activations([(2, 3)])), "--roofline", "a.png")


# The race


def test_products_of_tf32_are_computed_and_judged_as_such(cupy, harness):
    raced = measured(harness, linear(64, 32, 32)[0], "float32", "tf32")
    errors = {name: error.relative for name, error in raced.errors.items()}
    assert errors["cuda"] < 1e-6
    assert 1e-5 < errors["cuda tf32"] < 2**-9
    assert [kind for kind, last in zip(cupy.types, [None, *cupy.types], strict=False) if kind != last].count(TF32) >= 2
    assert cupy.types[0] == 1


def test_a_contender_that_is_wrong_is_named(cupy, harness, monkeypatch):
    import gpu_rows

    right = gpu_rows.cuda.linear_forward
    monkeypatch.setattr(gpu_rows.cuda, "linear_forward", lambda *given: right(*given) * np.float32(1.001))
    with pytest.raises(harness.Disagreement, match="cuda and the float64 reference disagree"):
        measured(harness, linear(3, 5, 2)[0], "float32")
    monkeypatch.setattr(gpu_rows.cuda, "relu_forward", lambda x: x)
    import kernel_cases

    with pytest.raises(harness.Disagreement, match="cuda and cpu disagree"):
        measured(harness, next(kernel_cases.activations([(2, 3)])), "float32")


def test_depthwise_is_raced_by_name_where_it_serves(cupy, harness):
    raced = measured(harness, convolution(1, 4, 4, 4, 3, groups=4)[0], "float32").race.bursts
    assert {"cuda", "cuda depthwise", "cuda im2col", "cuda implicit_gemm"} < set(raced)


def test_what_is_written_into_belongs_to_one_contender(cupy, harness):
    import kernel_cases

    sgd = next(kernel_cases.updates([(5,)]))
    raced = measured(harness, sgd, "float32", "tf32")
    assert list(raced.race.bursts) == ["cpu", "cuda"]
    assert raced.moved == 4 * 5 * (3 + 2)  # weights, gradients and velocities are read, the first and last written


def test_arrays_are_moved_once_and_before_the_clock_runs(cupy, harness, monkeypatch):
    import gpu_rows
    import kernel_cases

    seen = {"cpu": set(), "cuda": set()}
    for name, room in (("cpu", gpu_rows.cpu), ("cuda", gpu_rows.cuda)):
        note, right = seen[name].add, room.relu_forward
        monkeypatch.setattr(room, "relu_forward", lambda x, note=note, right=right: note((id(x), type(x))) or right(x))
    measured(harness, next(kernel_cases.activations([(2, 3)])), "float32")
    assert [[kind for _, kind in seen[name]] for name in seen] == [[np.ndarray], [cupy.ndarray]]


def test_every_byte_of_arguments_and_results_counts_once(cupy, harness):
    import kernel_cases

    pool = next(kernel_cases.pools([((1, 4, 4, 3), 2, 2, 0)]))
    assert measured(harness, pool, "float32").moved == 4 * (4 * 4 * 3 + 2 * 2 * 2 * 3)  # x; y and the winners' index


def test_the_cpu_takes_no_part_in_the_largest(cupy, harness, monkeypatch):
    import gpu_rows

    monkeypatch.setattr(gpu_rows, "CPU_WORK", 30)
    assert list(measured(harness, linear(3, 5, 2)[0], "float32").race.bursts) == ["cuda", "cublas"]


def test_pytorch_races_in_both_layouts_and_precisions(cupy, harness, torch):
    import kernel_cases

    raced = measured(harness, convolution(1, 4, 2, 3, 3)[0], "float32", "tf32", torch="cpu")
    known = {f"torch {layout}{end}" for layout in ("nchw", "nhwc") for end in ("", " tf32")}
    assert {name for name in raced.race.bursts if name.startswith("torch")} == known
    ratios = {f"cuda{end}/{label}{end}" for label in ("torch", "torch nchw", "torch nhwc") for end in ("", " tf32")}
    assert raced.ratios.keys() == ratios | {"cpu/cuda"}
    flat = measured(harness, next(kernel_cases.activations([(2, 3)])), "float32", torch="cpu")
    assert flat.ratios.keys() == {"cpu/cuda", "cuda/torch"}


def test_pytorch_has_the_precision_and_the_autotuner_that_is_asked_for(cupy, torch):
    import gpu_settings

    for precision in ("tf32", "float32"):
        gpu_settings.set_precision(precision, True)
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    for on in (True, False):
        gpu_settings.set_autotuner(on)
        assert torch.backends.cudnn.benchmark == on


# A row


def test_the_limit_is_the_longer_of_computing_and_moving(harness):
    times = {"cpu": [400.0], "cuda": [40.0], "cuda tf32": [10.0]}
    computing = row(harness, times, work=100, moved=8)  # 200 operations, 8 bytes
    assert [computing.limit(name) for name in times] == [200, 20, 200 / 30]
    assert [computing.share(name) for name in times] == [0.5, 0.5, pytest.approx(2 / 3)]
    moving = row(harness, times, moved=8)
    assert [moving.limit(name) for name in times] == [8, 4, 4]
    assert moving.bandwidth("cuda") == 0.2
    assert computing.speed("cuda") == 5


def test_each_precision_is_compared_with_its_own(harness):
    times = {"cpu": [80.0], "cuda": [4.0], "cublas": [8.0], "torch nchw": [2.0], "torch nhwc": [1.0],
             "cuda tf32": [3.0], "torch nchw tf32": [6.0], "torch nhwc tf32": [30.0]}  # fmt: skip
    assert row(harness, times).ratios == {
        "cuda/torch": 4, "cuda/torch nchw": 2, "cuda/torch nhwc": 4, "cuda/cublas": 0.5, "cpu/cuda": 20,
        "cuda tf32/torch tf32": 0.5, "cuda tf32/torch nchw tf32": 0.5, "cuda tf32/torch nhwc tf32": 0.1,
    }  # fmt: skip


def test_a_row_stays_narrow_whatever_the_times(harness, report):
    from gpu_kernels import HEAD, WIDTHS

    for fast, slow in ((1e-9, 999.4), (9.996e-6, 99.96e-6), (0.9996e-3, 0.9996)):
        raced = row(harness, {"cpu": [slow], "cuda": [fast], "torch nchw": [slow], "torch nhwc": [slow]})
        text = report.table(HEAD, [raced.cells()], WIDTHS)
        assert max(map(len, text.splitlines())) <= 80
        assert text.splitlines()[1].startswith(f"{raced.case.shape} ")


def test_means_are_geometric_and_of_each_precision(harness):
    import gpu_means

    times = {"cuda": [8.0], "torch nchw": [4.0], "cuda tf32": [16.0], "torch nchw tf32": [4.0]}
    rows = [row(harness, {**times, "cuda": [own]}, networks=("resnet50-b64",)).as_json() for own in (8.0, 32.0)]
    (mean,) = gpu_means.means(rows)
    assert mean["rows"] == "kernel resnet50-b64"
    assert mean["count"] == 2
    assert mean["cuda/torch nchw"] == pytest.approx(4)
    assert mean["cuda tf32/torch nchw tf32"] == pytest.approx(4)
    assert mean["cuda of limit"] == pytest.approx(0.25)
    assert mean["cuda tf32 of limit"] == pytest.approx(0.25)
    lines = gpu_means.cells(mean)
    assert [line[0] for line in lines] == ["kernel resnet50-b64", "kernel resnet50-b64 tf32"]
    assert lines[0][1:] == ("2", "0.250", "0.250", "-", "25 %")


def test_throughput_is_printed_over_each_way_of_pytorch(report):
    import gpu_means

    ratios = {"cuda/torch nchw": 2.0, "cuda/torch nhwc": 0.5, "cuda/torch nhwc tuned": 0.8,
              "cuda tf32/torch nchw tuned tf32": 4.0}  # fmt: skip
    mean = {"rows": "conv2d_backward_weight resnet50-b64", "count": 1, "cuda of limit": 0.5, **ratios}
    assert gpu_means.ways(mean) == [(mean["rows"], "0.500", "2.000", "-", "1.250"),
                                    (f"{mean['rows']} tf32", "-", "-", "0.250", "-")]  # fmt: skip
    assert gpu_means.ways({**mean, "rows": "linear_forward"}) == []
    bound = [{"family": "update", "count": 2, "of copy": 0.5, "lowest": 0.25, "which": "sgd_update 25557032"}]
    texts = list(gpu_means.tables([mean], bound))
    assert len(texts) == 3
    assert max(len(line) for text in texts for line in text.splitlines()) <= 80
    assert texts[2].splitlines()[1].split() == ["update", "2", "50", "%", "25", "%", "sgd_update", "25557032"]


def test_the_copys_bandwidth_is_the_limit_of_what_no_cache_holds(harness):
    import gpu_means

    def moving(kernel, seconds, moved):
        return row(harness, {"cuda": [seconds]}, moved=moved).as_json() | {"kernel": kernel}

    limit = 10**8  # bytes; at 2 bytes a second
    rows = [moving("relu_forward", limit, limit), moving("tanh_backward", limit / 0.5, limit * 4),
            moving("sigmoid_forward", 1.0, limit - 1), moving("sgd_update", limit, limit),
            moving("softmax_forward", 1.0, limit)]  # fmt: skip
    activation, update = gpu_means.memory_bound(rows)
    assert (activation["family"], activation["count"]) == ("activation", 2)
    assert activation["lowest"] == pytest.approx(0.5)
    assert activation["which"].startswith("relu_forward ")
    assert activation["of copy"] == pytest.approx((0.5 * 1.0) ** 0.5)
    assert (update["family"], update["of copy"]) == ("update", pytest.approx(0.5))


def test_every_kernel_that_memory_limits_is_in_a_family():
    import gpu_means
    from gpu_cases import cases

    kernels = {case.kernel for case in cases()}
    found = {family: {kernel for kernel in kernels if re.match(names, kernel)}
             for family, names in gpu_means.FAMILIES.items()}  # fmt: skip
    for family, part in {"batch norm": "batch_norm", "pooling": "pool2d", "update": "_update"}.items():
        assert found[family] == {kernel for kernel in kernels if part in kernel}
    assert found["activation"] == {f"{name}_{direction}" for name in ("relu", "relu6", "tanh", "sigmoid")
                                   for direction in ("forward", "backward")}  # fmt: skip


def test_what_the_gpu_does_in_no_time_has_a_mean_of_its_own(harness):
    from kernel_rows import groups

    rows = [row(harness, {"cuda": [1.0]}, moved=moved) for moved in (1.9e-5, 2.1e-5)]  # at 2 bytes a second
    assert list(groups(rows)) == ["kernel short", "kernel"]


def test_the_layers_of_resnet50_are_there_with_64_images_and_every_name_fits():
    from gpu_cases import cases
    from gpu_kernels import WIDTHS
    from gpu_means import WAYS_WIDTHS
    from kernel_cases import cases as cpu_cases

    known = cases()
    found = [case for case in known if case.networks == ("resnet50-b64",)]
    assert len(found) == len([case for case in cpu_cases() if "resnet50" in case.networks]) == 3 * 23
    assert all(case.shape.startswith("64x") for case in found)
    assert {case.name for case in cpu_cases()} < {case.name for case in known}
    assert len({case.name for case in known}) == len(known)
    assert max(len(case.shape) for case in known) <= WIDTHS[0]
    labels = [f"{case.kernel} {network} tf32" for case in known for network in case.networks]
    assert max(map(len, labels)) <= WAYS_WIDTHS[0]


# The limits


@pytest.mark.parametrize("order", [0, 1, 7])
def test_the_multiply_adds_are_those_that_are_counted(cupy, monkeypatch, order):
    import gpu_roofs

    monkeypatch.setattr(_launch, "gpu", fake_cupy.FakeGpu(order))
    x, out = gpu_roofs.factors(), _launch.empty((2 * gpu_roofs.THREADS, 1), np.float32)
    gpu_roofs.run_peak("multiply_adds", 3, x, out)
    a, b, *_ = values = cupy.asnumpy(x).astype(np.float64)
    sums = np.array([values[t % 32 : t % 32 + gpu_roofs.CHAINS] for t in range(len(out))])
    for _ in range(3):
        sums = sums * a + b
    np.testing.assert_allclose(cupy.asnumpy(out)[:, 0], sums.sum(1), rtol=1e-6)


@pytest.mark.parametrize("order", [0, 1, 7])
def test_the_tensor_cores_products_are_those_that_are_counted(cupy, monkeypatch, order):
    import gpu_roofs

    monkeypatch.setattr(_launch, "gpu", fake_cupy.FakeGpu(order))
    x, out = gpu_roofs.factors(), _launch.empty((gpu_roofs.THREADS, 4), np.float32)
    gpu_roofs.run_peak("tensor_cores", 3, x, out)
    a, b = np.zeros((16, 8)), np.zeros((8, 8))
    for lane, mine in enumerate(cupy.asnumpy(x).reshape(32, 6)):
        g, t = divmod(lane, 4)
        a[g, t], a[g + 8, t], a[g, t + 4], a[g + 8, t + 4], b[t, g], b[t + 4, g] = mine
    expected = 3 * gpu_roofs.CHAINS * (a @ b) + sum(range(gpu_roofs.CHAINS))
    for thread, numbers in enumerate(cupy.asnumpy(out)):
        g, t = divmod(thread % 32, 4)
        places = [(g, 2 * t), (g, 2 * t + 1), (g + 8, 2 * t), (g + 8, 2 * t + 1)]
        np.testing.assert_allclose(numbers, [expected[place] for place in places], rtol=2**-9)


def test_the_limits_are_what_was_done_over_the_time(cupy, monkeypatch):
    """Every call takes half a second."""
    import gpu_roofs

    calls = []
    monkeypatch.setattr(gpu_roofs, "fastest", lambda call, seconds: calls.append(call()) or 0.5)
    monkeypatch.setattr(gpu_roofs, "run_peak", lambda *given: None)
    for name, small in {"COPIED": 1000, "COPIES": 4, "SIDE": 10, "BLOCKS": 2}.items():
        monkeypatch.setattr(gpu_roofs, name, small)
    monkeypatch.setattr(gpu_roofs, "ROUNDS", {"multiply_adds": 100, "tensor_cores": 10})
    limits = gpu_roofs.measure(with_torch=False)
    threads = 2 * 256
    assert limits.copy == 2 * (4 * 2 * 4 * 1000)
    assert limits.multiply_adds == 2 * (2 * 8 * 100 * threads)
    assert limits.tensor_cores == 2 * (2 * 16 * 8 * 8 * 8 * 10 * threads / 32)
    assert limits.cublas_tf32 == 2 * (2 * 10**3)
    assert cupy.types == [TF32]
    roofs = limits.roofs()
    assert roofs["float32"].peak == limits.multiply_adds
    assert roofs["tf32"].peak == limits.tensor_cores
    assert len(calls) == 4


def test_a_copy_copies(cupy):
    import gpu_roofs

    source = cupy.asarray(np.arange(5, dtype=np.float32))
    target = cupy.zeros(5, np.float32)
    gpu_roofs._copy(source, target)
    assert target.tolist() == [0, 1, 2, 3, 4]
