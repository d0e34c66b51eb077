"""Comparing a network with the table in its builder's docstring."""

import re
from itertools import pairwise

import minicnn as mc


def summary_and_table(model, docstring, input_shape=None):
    """The summary of a network, after every number in the table has been found in it; the table must have rows.

    A row speaks of the part that it names and of those up to the next row's: "conv1" with bn1 and relu, say. Its output
    is that of the last of them.
    """
    summary = mc.summary(model, input_shape)
    names = [name for name, _ in model.named_children()]
    rows = table(docstring)
    assert rows, "no table"
    starts = [names.index(row[0]) for row in rows]
    for (name, *expected), (start, end) in zip(rows, pairwise([*starts, len(names)]), strict=True):
        assert start < end, f"{name} stands in the wrong place"
        parts = names[start:end]
        within = [row for row in summary.rows if row.name.split(".")[0] in parts]
        shape = next(row.output_shape for row in reversed(within) if row.name in parts)
        got = [shape, sum(row.parameters for row in within), sum(row.multiply_adds for row in within)]
        assert got == expected, name
    return summary


def table(docstring):
    """[(name, output shape, parameters, multiply-adds)] of the lines `| name | what | output | ... | ... |`."""
    lines = [[cell.strip() for cell in line.strip(" |").split("|")] for line in docstring.splitlines() if "|" in line]
    rows = [line for line in lines[2:] if line[0] != "total"]
    return [(name, _shape(output), _number(size), _number(work)) for name, _, output, size, work in map(_five, rows)]


def _five(cells):
    return (cells + [""] * 5)[:5]


def _shape(text):
    return tuple(_number(part) for part in re.split(r",\s+", text))


def _number(text):
    return int(text.replace(",", "") or 0)
