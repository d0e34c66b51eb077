"""Draw a ring all-reduce: its rounds on four ranks, and below them what it costs on three links, from 2 to 1,024 ranks.

Nothing is measured. The rounds are played through, and the costs are those of the formula in `ring.py`, for the
gradients of ResNet-18: once as one array, once in the messages in which the engine sends them, whose latencies add up.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import cli
import plots
from ring import LINKS, Bucket, Step

RANKS = 4
COUNTS = [2**i for i in range(1, 11)]
SHADES = ("#dbe7f6", "#a9c8ee", "#6aa0e0", "#1f6fd6")


def main() -> int:
    """Read the path, draw, write. Returns the exit status."""
    options = argparse.ArgumentParser(
        description=cli.wrapped(__doc__ or ""), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("plot", type=cli.plot_path, metavar="PATH", help="the picture (png, svg, pdf)")
    figure = plots.new_figure(5.8)
    above, below = figure.subfigures(2, 1, height_ratios=(1.6, 3.6))
    draw_rounds(above, rounds(RANKS))
    draw_costs(below.add_subplot(), resnet18_messages())
    plots.save(figure, options.parse_args().plot)
    return 0


def rounds(ranks: int) -> list[list[list[frozenset[int]]]]:
    """Before the first round and after each: whose numbers are in [rank][part].

    In round t rank r sends part r - t, counted modulo the ranks, to rank r + 1. At first the receiver adds it to its
    own; after p - 1 rounds the part is a whole sum, which replaces what the receiver has.
    """
    state = [[frozenset({rank})] * ranks for rank in range(ranks)]
    played = [state]
    for turn in range(2 * (ranks - 1)):
        after = [list(row) for row in state]
        for rank in range(ranks):
            part, right = (rank - turn) % ranks, (rank + 1) % ranks
            after[right][part] = state[rank][part] | (state[right][part] if turn < ranks - 1 else frozenset())
        played.append(state := after)
    return played


def draw_rounds(figure: Any, played: list[list[list[frozenset[int]]]]) -> None:
    """A square of ranks x parts for each moment; a cell says whose numbers are in it, and is framed if it is new."""
    for turn, (axes, state) in enumerate(zip(figure.subplots(1, len(played)), played, strict=True)):
        for rank, row in enumerate(state):
            for part, known in enumerate(row):
                axes.add_patch(_cell(rank, part, SHADES[len(known) - 1]))
                colour = "white" if len(known) == len(state) else plots.INK
                axes.text(part, rank, "".join(map(str, sorted(known))), ha="center", va="center", fontsize=5.5,
                          color=colour)  # fmt: skip
        for rank, part in _received(turn, len(state)):
            axes.add_patch(_cell(rank, part, "none", plots.INK))
        axes.set(xlim=(-0.6, len(state) - 0.4), ylim=(len(state) - 0.4, -0.6), aspect="equal")
        axes.set_xticks(range(len(state)), "abcd", fontsize=6)
        axes.set_yticks(range(len(state)), [f"rank {i}" for i in range(len(state))] if not turn else [], fontsize=6)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_title(f"round {turn}" if turn else "before", fontsize=7)
    figure.suptitle("whose numbers are in the parts a to d; framed: just come from the left neighbour", fontsize=8)


def _received(turn: int, ranks: int) -> list[tuple[int, int]]:
    """(rank, part) of what came in round `turn`, from 1; nothing before it."""
    return [((rank + 1) % ranks, (rank - turn + 1) % ranks) for rank in range(ranks)] if turn else []


def _cell(rank: int, part: int, colour: str, edge: str = "white") -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((part - 0.46, rank - 0.46), 0.92, 0.92, facecolor=colour, edgecolor=edge, linewidth=1)


def resnet18_messages() -> list[int]:
    """Bytes of each: buckets of its gradients in float32, the last layer's first, and which there are, in int32."""
    from minicnn import models
    from minicnn.distributed.gradients import BUCKET_BYTES, in_buckets

    ws = [parameter.data for parameter in models.build("resnet18").parameters()][::-1]
    buckets = in_buckets(range(len(ws)), ws, BUCKET_BYTES)
    return [*(sum(ws[i].nbytes for i in bucket) for bucket in buckets), 4 * len(ws)]


def draw_costs(axes: Any, messages: list[int]) -> None:
    """Seconds of the sum over the ranks, a colour for each link: whole, and in these messages."""
    size = sum(messages)
    for i, link in enumerate(LINKS):
        for sizes, style in (([size], "-"), (messages, "--")):
            step = Step(0.0, 0.0, tuple(Bucket(each, 0.0) for each in sizes))
            label = f"{link.name}, in {len(sizes)} messages" if len(sizes) > 1 else f"{link.name}, one array"
            axes.plot(COUNTS, [1e3 * step.cost(p, link).seconds for p in COUNTS], style, color=f"C{i}", label=label)
    axes.set_yscale("log")
    axes.set_xscale("log", base=2)
    axes.set_xticks(COUNTS, [f"{count:,}" for count in COUNTS])
    axes.tick_params(labelsize=7)
    axes.set_xlabel("ranks", fontsize=8)
    axes.set_ylabel("milliseconds of the sum", fontsize=8)
    axes.set_title(f"a ring all-reduce of {size / 1e6:.1f} MB, by the formula", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


if __name__ == "__main__":
    sys.exit(main())
