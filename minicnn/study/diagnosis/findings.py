"""What a diagnosis says."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

WIDTH = 80


@dataclass(frozen=True)
class Finding:
    """One fault. kind: its name, such as "dead ReLU". layer: where, a dotted name; "" if it is in no layer.

    sentence: what it is, and what to do. numbers: what was measured, by name.
    """

    kind: str
    layer: str
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` returns: printed it is a report, its attributes are the numbers.

    findings: the faults, those first that may be the cause of others. samples: in the batch. loss: of the batch as the
    network is; loss_after: after some steps on this very batch; None where it did not come to that.
    """

    findings: tuple[Finding, ...]
    samples: int
    loss: float | None = None
    loss_after: float | None = None

    def __str__(self) -> str:
        start = f"A batch of {self.samples}"
        if self.loss is not None:
            start += f", loss {self.loss:.4g}"
            start += "" if self.loss_after is None else f", {self.loss_after:.4g} after some steps on it"
        if not self.findings:
            return f"{start}: nothing found."
        lines = [f"{start}: {len(self.findings)} finding{'s' if len(self.findings) > 1 else ''}."]
        for number, each in enumerate(self.findings, 1):
            head = f"{number}. {each.kind}{f', {each.layer}' if each.layer else ''}: "
            lines.append(textwrap.fill(head + each.sentence, WIDTH, subsequent_indent="   "))
        last = "What follows from this is not looked for: put it right, and diagnose again."
        return "\n".join([*lines, last])

    __repr__ = __str__
