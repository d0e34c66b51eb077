"""When the buckets of a step were sent and summed, beside the backward pass, as lines of text."""

from __future__ import annotations

from typing import Any

import report

# {"pass ended", "sums ended": seconds since the backward pass began, "buckets": [{"bytes", "started", "done"}, ...]}.
# "done" is when the rank noticed, which looks after each operation.
Trace = dict[str, Any]

WIDTHS = (13, 10, 9, 9, 35)
HEAD = ("", "bytes", "sent", "summed", "")


def timeline(trace: Trace) -> str:
    """A line for the pass, and one for each bucket, with a bar from when it was sent to when it was summed."""
    end = trace["sums ended"]
    rows = [("the pass", "", "", report.duration(trace["pass ended"]), bar(0.0, trace["pass ended"], end, "#"))]
    for number, sent in enumerate(trace["buckets"], 1):
        times = report.duration(sent["started"]), report.duration(sent["done"])
        rows.append((f"bucket {number}", f"{sent['bytes']:,}", *times, bar(sent["started"], sent["done"], end, "=")))
    return report.table(HEAD, rows, WIDTHS)


def bar(begin: float, end: float, whole: float, mark: str) -> str:
    """Marks from `begin` to `end` on a line that is `whole` seconds long; at least one mark."""
    width = WIDTHS[-1]
    first = min(int(width * begin / whole), width - 1)
    last = max(first + 1, round(width * end / whole))
    return (" " * first + mark * (last - first)).ljust(width)
