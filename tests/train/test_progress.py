"""What a person at a terminal sees; and that nobody else sees anything."""

import io
import sys
import time

import pytest

from minicnn.train.progress import EpochBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_and_one_line_an_epoch(small, dataset, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    small.trainer().fit(dataset, 2, batch_size=8, validation=dataset)
    text = sys.stderr.getvalue()
    assert "images/s" in text
    lines = lines_on_the_screen(text)
    assert lines[0].startswith("epoch 1/2  loss ")
    assert lines[1].startswith("epoch 2/2  loss ")
    assert "val_accuracy" in lines[0]
    assert lines[0].endswith(" s")
    assert len([line for line in lines if line.strip()]) == 2


def lines_on_the_screen(text):
    """What stays of each line: the last thing written on it."""
    return [line.split("\r")[-1] for line in text.split("\n")]


def test_a_line_has_no_numbers_of_a_validation_that_was_none(small, dataset, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    small.trainer().fit(dataset, 2, validation=dataset, validate_every=2)
    first, second, _ = lines_on_the_screen(sys.stderr.getvalue())
    assert "val_" not in first
    assert "nan" not in first + second
    assert "val_loss" in second


def test_an_epoch_that_goes_on_shows_where_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with EpochBar(3, 10, 4, 30) as bar:
        bar.begin(2, 16)
        time.sleep(0.15)
        bar.update(8, {"loss": 0.5})
    assert "24/30" in sys.stderr.getvalue()
    assert "batch 3/4" in sys.stderr.getvalue()


def test_a_batch_shows_where_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with EpochBar(3, 10, 4, 30) as bar:
        time.sleep(0.15)  # the bar is redrawn at most every tenth of a second
        bar.update(8, {"loss": 0.5, "accuracy": 0.25})
    text = sys.stderr.getvalue()
    assert "epoch 3/10" in text
    assert "8/30" in text
    assert "batch 1/4, loss 0.5000, accuracy 0.2500" in text


@pytest.mark.parametrize(("stream", "progress"), [(io.StringIO, True), (Terminal, False)])
def test_nothing_is_written_elsewhere_or_unasked(small, dataset, monkeypatch, capsys, stream, progress):
    monkeypatch.setattr(sys, "stderr", stream())
    small.trainer().fit(dataset, 1, progress=progress)
    assert sys.stderr.getvalue() == ""
    assert capsys.readouterr().out == ""


def test_the_bar_goes_away_on_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = EpochBar(1, 1, 1, 1)
    with pytest.raises(KeyError), bar:
        raise KeyError
    assert sys.stderr.getvalue().endswith(" \r")
