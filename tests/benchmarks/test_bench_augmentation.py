"""What augmentation costs, as a person asks for it; the figures of so short a run mean nothing."""

import json

from scripts import run


def test_what_it_says_and_writes(tmp_path):
    path = tmp_path / "a.json"
    options = ("--quick", "--rounds", "1", "--threads", "1", "--batch-size", "8", "--json", path)
    text = run("bench_augmentation.py", *options)
    assert max(map(len, text.splitlines())) <= 80
    content = json.loads(path.read_text())
    assert content["settings"] == {"batch size": 8, "rounds": 1, "quick": True}
    assert all(c["seconds"] > 0 for c in content["contenders"].values())
    assert content["ratios"].keys() == content["contenders"].keys() - {"LeNet-5 step"}
    assert all(name in text for name in content["contenders"])
