"""The tables of docs/data.md: what `bench_loader.py` and `bench_augmentation.py` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import report

SAMPLES = {
    "plain": "MNIST from memory",
    "augmented": "the same, moved and bent",
    "photos": "JPEG files",
    "python": "MNIST, changed by a loop in Python",
}


def loading(content: dict[str, Any]) -> Iterator[str]:
    """Who makes the batches, and how long LeNet-5 waits for them."""
    places = [place for place in content["cases"][0]["medians"] if place != "ready"]
    waits, epochs = [], []
    for case in content["cases"]:
        medians = [case["medians"][place] for place in places]
        waits.append((SAMPLES[case["case"]], *(f"{100 * each['waiting']:.1f} %" for each in medians)))
        epochs.append((SAMPLES[case["case"]], *(report.times(each["over ready"]) for each in medians)))
    yield report.markdown(("share of an epoch spent waiting", *places), waits)
    yield report.markdown(("an epoch over one for which nobody makes batches", *places), epochs)


def augmentation(content: dict[str, Any]) -> str:
    """What each transform takes of a step of LeNet-5."""
    rows = [
        (name, report.duration(content["contenders"][name]["seconds"]), report.times(ratio))
        for name, ratio in content["ratios"].items()
    ]
    head = (f"a batch of {content['settings']['batch size']} through", "time", "over a step of LeNet-5")
    return report.markdown(head, rows)
