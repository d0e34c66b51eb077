"""The page of the race in a browser, and the picture: both are drawn from figures that are known."""

import itertools
import math
from dataclasses import replace

import pytest

MACHINE = {"processor": "a processor", "threads": 2, "precision": "float32", "load": 0.1}


@pytest.fixture
def page():
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    import race_page

    return race_page


@pytest.fixture
def opened(page, outcome, web_page, tmp_path):
    """opened(**changes): the page of the outcome, with fields changed, in the browser."""

    def call(width=1100, scheme="light", machine=MACHINE, **changes):
        path = tmp_path / "race.html"
        path.write_text(page.page(replace(outcome, **changes), machine))
        web_page.set_viewport_size({"width": width, "height": 800})
        web_page.emulate_media(color_scheme=scheme)
        web_page.goto(path.as_uri())
        return web_page

    return call


def boxes(view, selector):
    """(left, top, right, bottom) of all that the selector finds, in pixels."""
    found = [element.bounding_box() for element in view.query_selector_all(selector)]
    return [(b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]) for b in found]


def middles(view, selector):
    return [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes(view, selector)]


def test_the_table_has_the_figures_fastest_first(opened):
    view = opened()
    rows = [[cell.inner_text().strip() for cell in row.query_selector_all("th, td")]
            for row in view.query_selector_all("tbody tr")]  # fmt: skip
    assert rows == [
        ["cuda", "6.00 s", "5.00 s", "7.00 s", "1e-08", "7e-09", "33 %", "0.25", "2.00", "1.00", "1000"],
        ["cpu\xa0*", "25.0 s", "25.0 s", "25.0 s", "2e-09", "2e-09", "80 %", "0.50", "200", "3.00", "1.5e+07"],
        ["reference", "100 s", "90.0 s", "110 s", "6e-10", "4e-10", "20 %", "0.25", "2.00", "1.00", "1000"],
    ]
    text = view.inner_text("body")
    assert "60 FLOP" in text
    assert "40 B" in text
    assert "* cpu: one call" in text
    assert "torch has no times: it is not there" in text
    assert "a processor" in text


def test_a_bar_goes_from_its_own_limit_to_the_median(opened):
    view = opened()
    left, right = ([box[side] for box in boxes(view, "#times rect")] for side in (0, 2))
    # On a logarithmic axis a factor is a length: 6 of 2 seconds, 25 of 20, 100 of 20.
    lengths = [b - a for a, b in zip(left, right, strict=True)]
    expected = [math.log(3), math.log(25 / 20), math.log(5)]
    assert [length / lengths[0] for length in lengths] == pytest.approx([e / expected[0] for e in expected], rel=0.02)
    assert left[1] == pytest.approx(left[2], abs=0.5)
    ends = [x for x, _ in middles(view, "#times circle")]
    assert ends == pytest.approx(right, abs=0.5)
    lines = sorted(x for x, _ in middles(view, "#times line.limit"))
    assert lines == pytest.approx([left[0], left[1]], abs=1.5)


def test_who_is_faster_than_the_limit_has_a_bar_to_its_left(opened, outcome, race_run):
    fast = race_run.Runner("cpu", [10.0], outcome.runners[0].agreement)
    view = opened(runners=[fast, outcome.runners[0]])
    (limit, _), *_ = middles(view, "#times line.limit")
    (left, _, right, _), *_ = boxes(view, "#times rect")
    assert right == pytest.approx(limit, abs=1.5)
    assert left == pytest.approx(middles(view, "#times circle")[0][0], abs=0.5)


def test_points_lie_below_the_roof_by_their_share(opened, outcome, race_run):
    """At 1.5 operations a byte the CPU's roof is 3 operations a second: a tenth of it is a third as far below as a
    thousandth."""
    agreement = outcome.runners[0].agreement
    at = {"cpu on": 20.0, "cpu tenth": 200.0, "cpu thousandth": 20000.0}
    runners = [race_run.Runner(name, [seconds], agreement) for name, seconds in at.items()]
    view = opened(runners=runners, limits={"cpu": outcome.limits["cpu"]})
    points = middles(view, "#roofline circle")
    assert len({round(x, 1) for x, _ in points}) == 1
    drops = [y - points[0][1] for _, y in points]
    assert drops[2] == pytest.approx(3 * drops[1], rel=0.02)
    (slope, level) = boxes(view, "#roofline line.roof")
    share = (points[0][0] - slope[0]) / (slope[2] - slope[0])
    assert slope[3] + share * (slope[1] - slope[3]) == pytest.approx(points[0][1], abs=1.5)
    assert level[2] - level[0] > 0


def test_names_in_the_roofline_do_not_cover_each_other(opened, outcome, race_run):
    runners = [race_run.Runner(f"cpu {i}", [20.0 + i], outcome.runners[0].agreement) for i in range(20)]
    view = opened(runners=runners)
    tops = sorted(top for _, top, *_ in boxes(view, "#roofline text.halo[text-anchor=start], "
                                                    "#roofline text.halo[text-anchor=end]"))  # fmt: skip
    places = sorted(y for _, y in middles(view, "#roofline svg text"))
    assert len(places) == 20
    assert all(b - a >= 16 for a, b in itertools.pairwise(places))
    assert tops[0] > boxes(view, "#roofline")[0][1] - 30


def test_without_operations_there_is_no_roofline(opened, outcome):
    view = opened(work=replace(outcome.work, operations=0))
    assert view.query_selector("#roofline") is None
    assert "no operation in floating point" in view.inner_text("body")
    assert "0 FLOP" in view.inner_text("body")


def test_errors_of_nothing_and_of_millions_are_both_shown(opened, outcome, race_run):
    exact = replace(outcome.runners[0].agreement, median=(0.0, 0.0), largest=(0.0, 0.0))
    view = opened(runners=[race_run.Runner("cpu exact", [1.0], exact), outcome.runners[1]])
    assert len(boxes(view, "#errors rect")) == 2
    assert "0.00 to 0.00" in view.inner_text("body")


def test_nobody_finished(opened, race_run):
    view = opened(runners=[race_run.Runner("cpu", trouble="no such thing")])
    assert "Nobody has a time." in view.inner_text("body")
    assert "cpu has no times: no such thing" in view.inner_text("body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_all_of_it(opened, outcome, race_run, scheme):
    long = race_run.Runner("reference implicit_gemm", [30.0], outcome.runners[0].agreement)
    view = opened(width=375, scheme=scheme, runners=[*outcome.runners, long])
    assert view.evaluate("document.documentElement.scrollWidth") <= 375
    for left, _, right, _ in boxes(view, "svg text"):
        assert left >= 0
        assert right <= 375
    for name, said in zip(boxes(view, "#times text.halo:not(.said)"), boxes(view, "#times .said"), strict=True):
        assert name[2] < said[0]


def test_dark_and_light_have_their_own_colours(opened):
    colours = {scheme: opened(scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
               for scheme in ("light", "dark")}  # fmt: skip
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}


def test_text_is_never_run(opened, outcome, race_run):
    evil = "<script>document.title = 'run'</script>"
    case = replace(outcome.case, shape=evil, networks=(evil,))
    runners = [race_run.Runner("cpu", trouble=evil), replace(outcome.runners[0], note=evil)]
    view = opened(case=case, runners=runners, machine={evil: evil})
    assert view.title().startswith("relu_forward <script>")
    assert view.query_selector("script") is None
    assert view.inner_text("body").count(evil) == 6


def test_it_is_one_file(page, outcome):
    text = page.page(outcome, MACHINE)
    assert "<script" not in text
    assert not any(word in text for word in ("http:", "https:", "<link", "src=", "@import", "url("))


def test_ticks_are_round_and_few(page):
    assert page.Scale(0.9, 9).ticks() == [1, 2, 5]
    assert page.Scale(1e-6, 1.1e-3).ticks() == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3])
    for decades in range(1, 16):
        assert 2 <= len(page.Scale(0.99, 10.0**decades).ticks()) <= 6
    scale = page.Scale(1, 100, length=200, backwards=True)
    assert [scale.at(value) for value in (1, 10, 100)] == [200, 100, 0]


def test_places_are_spread_in_their_order():
    import plots

    assert plots.spread([10, 11, 50], 5, 100) == [10, 15, 50]
    assert plots.spread([99, 98], 5, 100) == [100, 95]
    assert plots.spread([], 5, 100) == []


def test_the_picture_has_bars_errors_and_roof(page, outcome, monkeypatch, tmp_path):
    import plots

    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    plots.draw_race(tmp_path / "a.png", outcome, "a machine")
    plots.draw_race(tmp_path / "a.png", replace(outcome, work=replace(outcome.work, operations=0)), "a machine")
    times, errors, roof = drawn[0].axes
    assert [label.get_text() for label in times.get_yticklabels()] == ["cuda", "cpu", "reference"]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in times.patches]
    assert bars == [(2, 6), (20, 25), (20, 100)]
    largest = [line.get_xdata()[-1] for line in errors.lines if line.get_marker() == "o"]
    assert largest == [2, 1000, 200, 1.5e7, 2, 1000]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in roof.lines if line.get_marker() == "o"]
    assert points == [(1.5, 60 / seconds / 1e9) for seconds in (6, 25, 100)]
    assert len(drawn[1].axes) == 2
    plots.draw_race(tmp_path / "a.png", replace(outcome, runners=[]), "a machine")
    assert drawn[2].axes == []
