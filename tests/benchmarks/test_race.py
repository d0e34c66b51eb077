"""The race: what is raced, who takes part, who is left behind and how that is said; no time means anything here."""

import argparse
import json
import sys
import time
from functools import partial

import numpy as np
import pytest
from scripts import TINY, TINY_WITH_TORCH, run

import minicnn as mc
from minicnn.kernels import reference


def chosen(text, **options):
    """The case that the command line names."""
    import race_cases

    return race_cases.chosen(text, argparse.Namespace(**{**dict.fromkeys(("shape", *race_cases.OPTIONS)), **options}))


def refused(text, **options):
    """What is said instead."""
    import race_cases

    with pytest.raises(race_cases.Unknown) as caught:
        chosen(text, **options)
    return str(caught.value)


# What is raced


def test_a_case_is_named_by_the_words_that_tell_it_from_others():
    assert chosen("conv2d_forward:resnet18-3x3-64").shape == "8x56x56x64->64 3x3"
    assert chosen("conv2d_forward:8x56x56x64->64 3x3").shape == "8x56x56x64->64 3x3"
    assert chosen("conv2d_backward_input:64-b32-resnet18").shape == "32x56x56x64->64 3x3"
    assert chosen("relu_forward:128x120").shape == "128x120"


@pytest.mark.parametrize("kernel", reference.__all__)
def test_every_case_has_a_name_of_its_own_without_a_character_of_the_shell(kernel):
    import race_cases

    names = list(race_cases.names(kernel))
    assert len(set(names)) == len(names) >= 3
    for name in names:
        assert not set(name) & set(" >|&;*$()")
        shape = chosen(f"{kernel}:{name}").shape
        assert set(shape.replace("->", " ").split()) <= set(name.split("-"))


def test_unknown_names_suggest_near_ones():
    assert "did you mean conv2d_forward or" in refused("conv2d_forwrd")
    assert "there are adadelta_update, " in refused("xyzzy")
    assert "did you mean resnet18-8x56x56x64-64-3x3" in refused("conv2d_forward:resnt18-3x3-64")
    assert refused("conv2d_forward:vgg16-3x3-512").startswith("'vgg16-3x3-512' is 3 cases: vgg16-4x28x28x256-512-3x3")
    assert "Give --shape, or a case: relu_forward:1, relu_forward:1x28x28x6" in refused("relu_forward")


def test_a_typed_shape_is_that_of_x():
    case = chosen("conv2d_backward_weight", shape=(2, 5, 7, 4), filters=6, kernel=3, stride=2, padding=1, groups=2)
    assert case.shape == "2x5x7x4->6 3x3 s2 g2 p1"
    dy, x, w_shape, *where = case.arguments(np.random.default_rng(0))
    assert (dy.shape, x.shape, w_shape) == ((2, 3, 4, 6), (2, 5, 7, 4), (3, 3, 2, 6))
    assert where == [(2, 2), ((1, 1), (1, 1)), (1, 1), 2, "auto"]
    pooled = chosen("max_pool2d_forward", shape=(1, 6, 4, 3), kernel=2)
    assert pooled.arguments(np.random.default_rng(0))[1:4] == ((2, 2), (2, 2), ((0, 0), (0, 0)))
    columns = chosen("im2col", shape=(1, 6, 5, 3), kernel=3, dilation=2, padding=2)
    assert columns.arguments(np.random.default_rng(0))[0].shape == (1, 6, 5, 3)


SHAPES = {
    "conv2d": {"shape": (1, 5, 6, 2), "filters": 3, "kernel": 3}, "im2col": {"shape": (1, 5, 6, 2), "kernel": 2},
    "col2im": {"shape": (1, 5, 6, 2), "kernel": 2}, "linear": {"shape": (3, 4), "outputs": 2},
    "max_pool2d": {"shape": (1, 5, 6, 2), "kernel": 2}, "avg_pool2d": {"shape": (1, 5, 6, 2), "kernel": 2},
    "sum_pool2d": {"shape": (1, 5, 6, 2), "kernel": 2}, "adaptive": {"shape": (1, 5, 6, 2), "outputs": 3},
    "batch_norm": {"shape": (1, 5, 6, 2)}, "local": {"shape": (1, 5, 6, 2)}, "philox": {"shape": (3, 4)},
    "warp": {"shape": (1, 5, 6, 2)},
}  # fmt: skip


@pytest.mark.parametrize("kernel", reference.__all__)
def test_every_kernel_runs_on_a_typed_shape(kernel):
    from ulps import exact_results

    options = next((given for prefix, given in SHAPES.items() if kernel.startswith(prefix)), {"shape": (4, 3)})
    case = chosen(kernel, **options)
    assert case.kernel == kernel
    assert exact_results(case, case.arguments(np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("conv2d_forward", {"shape": (1, 5, 5, 2), "kernel": 3}, "needs --filters"),
        ("conv2d_forward", {"shape": (1, 5, 5), "kernel": 3, "filters": 2}, r"expected --shape NxHxWxC, got 3 axes"),
        ("conv2d_forward", {"shape": (1, 2, 2, 1), "kernel": 3, "filters": 2}, "kernel smaller, the padding larger"),
        ("conv2d_forward", {"shape": (1, 5, 5, 4), "kernel": 3, "filters": 2, "groups": 4}, "groups must divide"),
        ("max_pool2d_forward", {"shape": (1, 5, 5, 4), "kernel": 2, "padding": 2}, "lies wholly in the padding"),
        ("relu_forward", {"shape": (3,), "kernel": 3}, "has no --kernel: it takes --shape"),
        ("philox4x32", {"shape": (3, 5)}, "use 3x4"),
        ("conv2d_forward:vgg16-7x7", {"stride": 2}, "leave out --stride"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(text, options, said):
    assert said in refused(text, **options)


# Who takes part


def test_a_convolution_has_every_room_and_algorithm_and_says_who_cannot(race_run, harness, roofs):
    case = chosen("conv2d_forward", shape=(1, 6, 6, 4), filters=5, kernel=3)
    outcome = race_run.run(case, harness.Pace(1, 0, 0, 1), roofs, with_torch=False, patience=30)
    plain, tiled = ["im2col", "implicit_gemm"], ["winograd", "winograd_f2"]
    expected = {f"reference {name}" for name in plain + tiled} | {f"cpu {name}" for name in [*plain, *tiled, "direct"]}
    assert {runner.name for runner in outcome.finished if "cuda" not in runner.name} == expected | {"cpu"}
    without = {runner.name: runner.trouble for runner in outcome.others}
    assert "one filter a channel" in without["cpu depthwise"]
    assert "was left out by --no-torch" in without["torch"]
    if not mc.cuda_available():
        assert 'device "cuda" cannot be used' in without["cuda"]
    for runner in outcome.finished:
        assert runner.agreement.median[0] < 2
        assert runner.agreement.largest[0] < 100


def test_depthwise_races_where_every_channel_has_its_filter(race_run, harness, roofs):
    case = chosen("conv2d_backward_input", shape=(1, 6, 6, 4), filters=4, kernel=3, groups=4)
    outcome = race_run.run(case, harness.Pace(1, 0, 0, 1), roofs, with_torch=False, patience=30)
    assert "cpu depthwise" in {runner.name for runner in outcome.finished}
    assert "winograd" in next(r.trouble for r in outcome.others if r.name == "cpu winograd")


def test_pytorch_takes_part_or_says_that_it_has_no_such_thing(race_run, harness, roofs):
    pytest.importorskip("torch")
    found = {}
    for kernel in ("relu_forward", "dropout_forward"):
        outcome = race_run.run(chosen(kernel, shape=(3, 4)), harness.Pace(1, 0, 0, 1), roofs, True, 30)
        found[kernel] = {runner.name: runner.trouble for runner in outcome.runners if runner.room == "torch"}
    assert found == {"relu_forward": {"torch": ""},
                     "dropout_forward": {"torch": "PyTorch has no operation that computes the same"}}  # fmt: skip


def test_a_gpu_takes_part_where_there_is_one(race_run, harness, roofs, cupy):
    case = chosen("relu_forward", shape=(2, 3))
    outcome = race_run.run(case, harness.Pace(1, 0, 0, 1), roofs, with_torch=False, patience=30)
    found = {runner.name: runner for runner in outcome.finished}
    assert {name: runner.device for name, runner in found.items()} == {
        "reference": "cpu", "cpu": "cpu", "cuda": "cuda"}  # fmt: skip
    assert set(cupy.types) == {1}  # float32
    assert outcome.limit(found["cuda"]) == outcome.limit(found["cpu"]) / 10


def test_a_gpu_can_be_left_out(race_run, harness, roofs, cupy):
    case = chosen("relu_forward", shape=(2, 3))
    outcome = race_run.run(case, harness.Pace(1, 0, 0, 1), {"cpu": roofs["cpu"]}, with_torch=False, patience=30)
    assert {runner.name for runner in outcome.finished} == {"reference", "cpu"}
    assert "it was left out by --device cpu" in [runner.trouble for runner in outcome.others]


@pytest.mark.skipif(mc.cuda_available(), reason="there is a GPU")
def test_a_gpu_that_is_asked_for_must_be_there():
    text = run("race.py", "relu_forward", "--shape", "2x3", "--device", "cuda", status=1)
    assert text.startswith('--device cuda: device "cuda" cannot be used, ')
    assert len(text.splitlines()) == 1


def test_on_a_gpu_algorithms_and_cublas_race_by_name(cupy):
    import race_entries

    def names(text, **options):
        case = chosen(text, **options)
        return [name for name, _ in race_entries.entries(case, case.arguments(np.random.default_rng(0)), False)][-4:]

    assert names("conv2d_forward", shape=(1, 4, 4, 2), filters=3, kernel=3) == [
        "cuda", "cuda im2col", "cuda implicit_gemm", "cuda depthwise"]  # fmt: skip
    assert names("linear_forward", shape=(3, 5), outputs=2)[-2:] == ["cuda", "cublas"]


def raced(race_run, harness, monkeypatch, roofs, contenders, patience=30.0):
    """The outcome of a race of relu_forward between these calls, {name: call(x)}."""

    def entries(case, arguments, with_torch, with_gpu):
        for name, call in contenders.items():
            yield name, partial(harness.Contender, partial(call, *arguments))

    monkeypatch.setattr(race_run, "entries", entries)
    return race_run.run(chosen("relu_forward", shape=(2, 3)), harness.Pace(3, 0, 0, 1), roofs, False, patience)


def test_who_is_wrong_or_fails_is_shown_and_the_others_race(race_run, harness, monkeypatch, roofs):
    def fails(x):
        raise ZeroDivisionError("of all things")

    outcome = raced(race_run, harness, monkeypatch, roofs, {
        "cpu right": reference.relu_forward, "cpu wrong": lambda x: x, "cpu short": lambda x: x[:1], "cpu fails": fails,
    })  # fmt: skip
    assert [runner.name for runner in outcome.finished] == ["cpu right"]
    assert len(outcome.finished[0].rounds) == 3
    wrong, short, failed = outcome.others
    assert wrong.trouble.startswith("cpu wrong and the float64 reference disagree in result 0: by ")
    assert "shapes (1, 3) and (2, 3)" in short.trouble
    assert failed.trouble == "ZeroDivisionError: of all things"
    assert [runner.wrong for runner in outcome.runners] == [False, True, True, False]


def test_where_all_terms_cancel_rounding_errors_do_not_disagree(race_run, harness, roofs):
    """Of two values in a channel x_hat is 1 and -1, and nothing is left of the gradient but rounding errors."""
    case = chosen("batch_norm_backward", shape=(1, 1, 2, 8))
    outcome = race_run.run(case, harness.Pace(1, 0, 0, 1), roofs, with_torch=False, patience=30)
    assert {"reference", "cpu"} <= {runner.name for runner in outcome.finished}
    assert max(runner.agreement.largest[0] for runner in outcome.finished) < 10


def test_who_is_slow_gets_fewer_rounds_and_says_so(race_run, harness):
    """For 3 rounds of a warm call and a timed one 6 calls are needed; a single call in a round needs one before it."""
    calls = dict.fromkeys(("quick", "slow", "slower", "slowest"), 0)
    needed = {"quick": 0.01, "slow": 0.1, "slower": 0.2, "slowest": 0.3}

    def call(name):
        calls[name] += 1

    ready = {name: (harness.Contender(partial(call, name)), seconds) for name, seconds in needed.items()}
    found = race_run.timed(ready, harness.Pace(3, 0, 0, 1), patience=0.5)
    assert {name: (len(rounds), note) for name, (rounds, note) in found.items()} == {
        "quick": (3, ""), "slow": (2, "slow, 2 rounds of one call"), "slower": (1, "slow, 1 round of one call"),
        "slowest": (1, "too slow for more than one call, its first"),
    }  # fmt: skip
    assert list(found) == list(needed)
    assert found["slowest"][0] == [0.3]
    assert calls == {"quick": 6, "slow": 4, "slower": 2, "slowest": 0}


def test_numpy_is_stopped_in_a_first_call_that_does_not_end(race_run, harness, monkeypatch, roofs):
    def endless(x):
        while True:
            time.sleep(0.001)

    contenders = {"reference endless": endless, "cpu": reference.relu_forward}
    outcome = raced(race_run, harness, monkeypatch, roofs, contenders, patience=0.2)
    assert [runner.name for runner in outcome.finished] == ["cpu"]
    (stopped,) = outcome.others
    assert stopped.trouble == "stopped in its first call, for which it had 200 ms (--patience)"


def test_the_alarm_rings_in_its_block_alone(race_run):
    with pytest.raises(TimeoutError), race_run.at_most(0.02):
        time.sleep(1)
    with race_run.at_most(0.02):
        pass
    time.sleep(0.04)


# What is said


def test_shares_rates_and_quartiles_of_an_outcome(outcome):
    assert [runner.name for runner in outcome.finished] == ["cuda", "cpu", "reference"]
    assert [runner.name for runner in outcome.others] == ["torch"]
    cuda, cpu, slow = outcome.finished
    assert [outcome.limit(runner) for runner in (cuda, cpu, slow)] == [2, 20, 20]
    assert [outcome.share(runner) for runner in (cuda, cpu, slow)] == [pytest.approx(1 / 3), 0.8, 0.2]
    assert outcome.rates(cpu) == (60 / 25, 40 / 25)
    assert outcome.race.quartiles("reference") == (90, 110)
    assert outcome.race.quartiles("cpu") == (25, 25)


def test_what_is_printed_fits_the_screen(outcome):
    import race_report

    text = race_report.describe(outcome)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "limit, cpu  20.0 s, by memory" in text
    assert "limit, cuda 2.00 s, by memory" in text
    assert [line.split()[0] for line in lines if " s  " in line] == ["cuda", "cpu", "reference"]
    (line,) = (line for line in lines if line.startswith("cpu  ") and "%" in line)
    assert line.split() == ["cpu", *["25.0", "s"] * 3, "2e-09", "2e-09", "80", "%", "\u2588" * 4]
    assert next(line for line in lines if line.endswith("1.5e+07")).split() == ["cpu", "0.50", "200", "3.00", "1.5e+07"]
    assert "torch has no times: it is not there" in lines
    assert "cuda is the fastest: 6.00 s, 33 % of the limit, 16.7 times as fast as reference." in lines


def test_figures_stay_in_their_columns():
    import race_report

    for power in range(-9, 6):
        assert all(len(race_report.rate(digits * 10.0**power * 1e9)) <= 7 for digits in (1, 1.234, 9.996, 5.555))
        assert len(race_report.ulps(1.2345 * 10.0**power)) <= 8
    assert [race_report.percent(share) for share in (0.0123, 0.5, 1.6)] == ["1.2 %", "50 %", "160 %"]
    assert [race_report.quantity(n, "B") for n in (0, 999, 999_700, 1.85e9)] == ["0 B", "999 B", "1 MB", "1.85 GB"]
    assert [race_report.bar(share) for share in (0, 0.5, 1, 2)] == [
        "     ",
        "\u2588\u2588\u258c  ",
        "\u2588" * 5,
        "\u2588" * 5,
    ]


def test_nobody_finished(race_run, roofs):
    import race_report
    from work import Work

    outcome = race_run.Outcome(chosen("relu_forward", shape=(2, 3)), Work(6, 48), roofs, [
        race_run.Runner("cpu", trouble="no")])  # fmt: skip
    assert race_report.describe(outcome).endswith("cpu has no times: no\n\nNobody has a time.")


# The script


def test_help_fits_the_screen():
    text = run("race.py", "--help")
    for word in ("columns:", "counted:", "ULPs:", "examples:", "--threads", "--json", "--png", "--html", "--no-torch"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.fixture
def script(cli, monkeypatch, roofs, capsys):
    """script(*options): the exit status and what is printed, in this process and without measuring the machine."""
    import race
    import race_entries
    import roofs as probes

    def no_gpu(name):
        raise RuntimeError(f'device "{name}" cannot be used')

    monkeypatch.setattr(mc, "cuda_available", lambda: False)  # a GPU has tests of its own
    monkeypatch.setattr(race_entries, "check_device", no_gpu)
    monkeypatch.setattr(probes, "measure", lambda threads, quick: roofs["cpu"])
    monkeypatch.setattr(cli, "set_threads", lambda threads, with_torch: None)
    for name in cli.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["race.py", *map(str, options)])
        return race.main(), capsys.readouterr().out

    return call


def test_table_file_picture_and_page(script, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    files = [tmp_path / name for name in ("a.json", "a.png", "a.html")]
    status, text = script("max_pool2d_backward", "--shape", "1x6x6x3", "--kernel", 2, *TINY, "--json", files[0],
                          "--png", files[1], "--html", files[2])  # fmt: skip
    assert status == 0
    assert max(map(len, text.splitlines())) <= 80
    assert "operations  27 FLOP of the definition" in text
    content = json.loads(files[0].read_text())
    assert content["machine"]["threads"] == 1
    assert content["settings"]["patience"] == 10
    assert content["limits"] == {"cpu peak GFLOP/s": 1e-8, "cpu memory GB/s": 2e-9}
    (row,) = content["rows"]
    assert (row["kernel"], row["shape"], row["operations"]) == ("max_pool2d_backward", "1x6x6x3 2x2 s2", 27)
    assert row["bytes"] == 4 * (27 + 27 + 108)
    assert row["contenders"].keys() == {"reference", "cpu"}
    assert "--no-torch" in row["without times"]["torch"]
    for contender in row["contenders"].values():
        assert contender["GB/s"] == pytest.approx(648 / contender["seconds"] / 1e9, rel=1e-3)
        assert contender["quartiles"] == [pytest.approx(contender["seconds"], rel=1e-3)] * 2
        assert contender["ulps"] == contender["ulps of terms"] == {"median": 0, "largest": 0}
    assert files[1].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "max_pool2d_backward" in files[2].read_text()


def test_a_wrong_kernel_makes_the_exit_status_1(script, monkeypatch):
    from minicnn.kernels import cpu

    monkeypatch.setattr(cpu, "relu_forward", lambda x: x)
    status, text = script("relu_forward", "--shape", "8", *TINY)
    assert status == 1
    assert "cpu has no times: cpu and the float64 reference disagree" in text


@pytest.mark.slow
def test_the_race_of_a_layer_with_pytorch(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "a.json"
    run("race.py", "conv2d_forward:resnet18-3x3-512", *TINY_WITH_TORCH, "--json", path)
    (row,) = json.loads(path.read_text())["rows"]
    assert {"torch nchw", "torch nhwc", "cpu winograd", "reference im2col"} <= row["contenders"].keys()


def test_wrong_options_are_refused_before_anything_is_measured(tmp_path):
    assert "must end in one of .png" in run("race.py", "relu_forward", "--png", tmp_path / "a.svg", status=2)
    assert "which kernel? --list" in run("race.py", status=2)
    assert "expected sizes such as" in run("race.py", "relu_forward", "--shape", "3x-1", status=2)
    assert run("race.py", "relu_forwad", "--shape", "3", status=1).startswith("there is no kernel 'relu_forwad': did")


def test_the_list_has_every_case_by_a_name_that_can_be_given_back():
    lines = run("race.py", "softmax_forward", "--list").splitlines()
    assert "softmax_forward:128x1000" in lines
    assert all(chosen(line).kernel == "softmax_forward" for line in lines)
