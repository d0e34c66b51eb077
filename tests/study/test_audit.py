"""The audit: the lectures' figures number for number, what fails, what it prints, that no network is left out."""

import subprocess
import sys

import pytest

from minicnn import models, nn
from minicnn.study import audit, published
from minicnn.study.published import IN_ALL, PARAMETERS, WEIGHTS, WORK, Figure, Reason, agrees

FIGURES = published.FIGURES


@pytest.fixture(autouse=True)
def _without_drawing(monkeypatch):
    """VGG would draw 138 million numbers, and a count does not look at them."""
    monkeypatch.setattr(nn.init, "kaiming_uniform", nn.init.zeros)


def verdicts(network, what):
    found = audit.audit(network, FIGURES)
    return {finding.figure.printed: finding.verdict for finding in found if finding.figure.what == what}


def test_every_network_has_a_figure_or_says_why_not():
    with_figures = {figure.network for figure in FIGURES}
    assert with_figures | set(published.UNPUBLISHED) == set(models.names())
    assert not with_figures & set(published.UNPUBLISHED)


def test_no_figure_stands_twice():
    keys = [(f.network, f.what, f.stages, f.source, f.printed) for f in FIGURES]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("printed", "number", "expected"),
    [
        ("60,000", 60_000, True),
        ("60,000", 60_001, False),
        ("0.27M", 269_722, True),
        ("0.27M", 280_000, False),
        ("0.27M", 279_999, True),  # cut off, not rounded
        ("3.6G", 3_663_761_408, True),
        ("19.6G", 15_470_264_320, False),
        ("138M", 138_999_999, True),
        ("138M", 139_000_000, False),
        ("2.7K", 2_712, True),
        ("2.7K", 9_408, False),
    ],
)
def test_a_figure_holds_within_one_of_its_last_digit(printed, number, expected):
    assert agrees(printed, number) == expected


def test_a_kilo_may_be_1024():
    assert agrees("112K", 114_688, kilo=1024)
    assert not agrees("112K", 114_688)


@pytest.mark.parametrize("printed", ["", "about 60", "1.2T", "-5", "1.5 G"])
def test_what_is_no_figure(printed):
    with pytest.raises(ValueError, match="expected a printed number like"):
        agrees(printed, 1)


def test_the_count_of_small_networks():
    assert audit.count("lenet5:1998", PARAMETERS) == 60_000
    assert audit.count("lenet5:1998", PARAMETERS, "c1", "s2") == 156 + 12
    assert audit.count("lenet5", WORK) == 416_520
    assert audit.count("lenet5", WEIGHTS) == 61_706 - (6 + 16 + 120 + 84 + 10)
    # Two scales and shifts for each of 16, 32 and 64 channels a block, and for conv1; as many running statistics.
    statistics = 2 * (16 + 3 * 2 * (16 + 32 + 64))
    assert audit.count("resnet20", IN_ALL) == 269_722 + statistics
    assert audit.count("resnet20", WEIGHTS) == 269_722 - statistics - 10
    # "layer1" is no part of a "layer10".
    assert audit.count("resnet20", PARAMETERS, "layer1") == 3 * (2 * 9 * 16 * 16 + 4 * 16)


def test_what_cannot_be_counted():
    with pytest.raises(ValueError, match=r"lenet5 has no stage 'c1'"):
        audit.count("lenet5", PARAMETERS, "c1")
    with pytest.raises(ValueError, match=r"expected one of parameters, weights, in all, multiply-adds, got 'flops'"):
        audit.count("lenet5", "flops")
    with pytest.raises(ValueError, match="did you mean"):
        audit.count("lenet6", PARAMETERS)


# The lectures.


def test_vgg_s_parameters_and_multiply_adds_are_of_two_networks():
    assert verdicts("vgg16", PARAMETERS)["138M"] == "PASS"
    (finding,) = [f for f in audit.audit("vgg16", FIGURES) if f.figure.printed == "19.6G"]
    assert (finding.ours, finding.verdict, dict(finding.terms)) == (15_470_264_320, "REASON", {"vgg19": 19_632_062_464})


def test_alexnet_s_multiply_adds_are_counted_twice():
    (finding,) = [f for f in audit.audit("alexnet:2012", FIGURES) if f.figure.printed == "1.5G"]
    assert (finding.ours, finding.verdict) == (724_406_816, "REASON")
    assert list(finding.terms.values()) == [724_406_816, 724_406_816]


def test_the_naive_inception_module():
    terms = published.naive_module()
    assert list(terms.values()) == [28 * 28 * 256 * n for n in (128, 9 * 192, 25 * 96)]
    assert sum(terms.values()) == 854_196_224


def test_the_inception_module_with_bottlenecks():
    terms = published.bottleneck_module()
    assert list(terms.values()) == [28 * 28 * n for n in (256 * 128, 256 * 64, 9 * 64 * 192, 256 * 64, 25 * 64 * 96,
                                                          256 * 64)]  # fmt: skip
    assert sum(terms.values()) == 271_351_808


def test_a_5_x_5_convolution_alone_and_behind_a_bottleneck():
    assert list(published.five_alone().values()) == [120_422_400]
    assert list(published.five_behind_one().values()) == [2_408_448, 10_035_200]
    assert sum(published.five_behind_one().values()) == 12_443_648


# What fails.


WRONG = Figure("lenet5", PARAMETERS, "61,707", "nobody")


def test_a_wrong_figure_fails(capsys):
    assert audit.main(["lenet5"], [WRONG]) == 1
    lines = capsys.readouterr().out.split("\n")
    assert any("61,707" in line and "61,706" in line and line.endswith("FAIL") for line in lines)
    assert "1 figures: 0 PASS, 0 REASON, 1 FAIL" in lines


def test_a_reason_must_give_the_figure():
    def with_reason(terms, right=""):
        reason = Reason("one more", lambda count: terms, right)
        return audit.judge(Figure("lenet5", PARAMETERS, "61,707", "nobody", reason=reason)).verdict

    assert with_reason({"LeNet-5": 61_706, "one": 1}) == "REASON"
    assert with_reason({"LeNet-5": 61_706}) == "FAIL"
    assert with_reason({"LeNet-5": 61_706}, right="61,706") == "REASON"
    assert with_reason({"LeNet-5": 61_706}, right="61,705") == "FAIL"


def test_a_wrong_term_of_an_example_fails():
    figure = Figure("lenet5", "sum", "13", "nobody", terms=lambda: {"a": 6, "b": 6})
    assert (audit.judge(figure).ours, audit.judge(figure).verdict) == (12, "FAIL")


# What it prints.


def test_the_terms_of_a_network_add_up_to_its_count(capsys):
    assert audit.main(["resnet20"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.split("\n")]
    first, last = (next(i for i, line in enumerate(lines) if line[:1] == [word]) for word in ("stage", "total"))
    terms = [[int(cell.replace(",", "")) for cell in line[-2:]] for line in lines[first + 1 : last]]
    assert [sum(column) for column in zip(*terms, strict=True)] == [269_722, 40_551_040]
    assert lines[last] == ["total", "269,722", "40,551,040"]
    assert ["layer2", "16x16x32", "51,072", "12,976,128"] in lines


def test_few_modules_are_opened():
    """DenseNet is `features` and `classifier`; what is shown are its blocks and transitions."""
    rows = audit._counts("densenet40_12").rows
    names = [stage.name for stage in audit._stages(rows)]
    assert names == ["features.conv0", "features.denseblock1", "features.transition1", "features.denseblock2",
                     "features.transition2", "features.denseblock3", "features.norm4", "classifier"]  # fmt: skip


def test_stages_stand_under_a_heading_and_within_80_columns(capsys):
    assert audit.main(["lenet5:1998", "alexnet:2012", "nin:imagenet"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert max(map(len, lines)) <= 80
    heading = lines.index("  parameters by stage, LeCun 1998, section II.B")
    assert [line.split() for line in lines[heading + 1 : heading + 4]] == [
        ["c1", "156", "156", "PASS"], ["s2", "12", "12", "PASS"], ["c3", "1,516", "1,516", "PASS"],
    ]  # fmt: skip
    assert "      724,406,816 (multiplications) + 724,406,816 (additions) = 1,448,813,632" in lines
    assert any(line.startswith("  no figure published: ") for line in lines)


def test_an_unknown_network_names_those_like_it(capsys):
    with pytest.raises(SystemExit) as stopped:
        audit.main(["resnet51"])
    assert stopped.value.code == 2
    assert "did you mean resnet56 or resnet50" in capsys.readouterr().err


def test_it_is_a_command():
    run = [sys.executable, "-m", "minicnn.study.audit", "lenet5"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1 figures: 1 PASS, 0 REASON, 0 FAIL\n")


def test_it_has_a_help(capsys):
    with pytest.raises(SystemExit) as stopped:
        audit.main(["--help"])
    assert stopped.value.code == 0
    assert "term by term" in capsys.readouterr().out


@pytest.mark.slow
def test_every_figure_of_every_network_holds_or_has_its_reason(capsys):
    assert audit.main([]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert max(map(len, lines)) <= 80
    assert set(models.names()) <= set(lines)
    assert lines[-2].startswith(f"{len(FIGURES)} figures: ")
