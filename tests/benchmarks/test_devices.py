"""Every benchmark for which a device makes sense has --device, and says in one sentence that there is no GPU."""

from pathlib import Path

import pytest
from scripts import FOLDER, run

import minicnn as mc

SCRIPTS = [path for path in sorted(FOLDER.glob("*.py")) if "__main__" in path.read_text()]
WITHOUT_DEVICE = {
    "alone.py": "a process that other scripts start, on the CPU",
    "bench_augmentation.py": "transforms change images on the CPU",
    "bench_distributed.py": "ranks over MPI, each with cores of its own",
    "bench_loader.py": "what it measures are the processes and threads that load images",
    "choose_conv2d.py": "it writes the cpu room's table of algorithms",
    "draw_ring.py": "it draws and computes nothing",
    "launch_ranks.py": "a process that bench_distributed.py starts",
    "measure_health.py": "what it prints is a network's and not a machine's",
    "readme_table.py": "it writes pages and computes nothing",
}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_device_can_be_chosen(path):
    assert ("cli.add_device(" in path.read_text()) == (path.name not in WITHOUT_DEVICE)
    if path.name not in WITHOUT_DEVICE:
        assert "--device {cpu,cuda,auto}" in run(path.name, "--help")


def test_the_exceptions_are_scripts():
    assert set(WITHOUT_DEVICE) <= {path.name for path in SCRIPTS}


@pytest.mark.skipif(mc.cuda_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "script", [path.name for path in SCRIPTS if path.name not in {*WITHOUT_DEVICE, "race.py"}]
)  # race.py needs an operation
def test_without_a_gpu_it_says_so_in_one_sentence(script):
    text = run(script, "--device", "cuda", status=1)
    assert 'device "cuda" cannot be used, ' in text
    assert len(text.splitlines()) == 1


COMMANDS = [line.split("`")[1] for line in (FOLDER / "results" / "README.md").read_text().splitlines()
            if "`python " in line and line.startswith("| ")]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_for_a_gpu_are_what_the_scripts_understand(command, monkeypatch):
    """All options are read before --help, which ends the script."""
    import gpu_cases
    import readme_table

    monkeypatch.chdir(FOLDER.parent)
    python, script, *options = command.split()
    assert python == "python"
    said = run(f"../{script}", *options, "--help")
    kind, _, card = Path(options[options.index("--json") + 1]).stem.partition("_nvidia")
    assert card == "_h200"
    assert kind in readme_table.KINDS
    assert kind == Path(script).stem
    assert "--json" in said
    if "--kernel" in said:
        parts = [options[i + 1] for i, option in enumerate(options) if option == "-k"]
        names = [case.name for case in gpu_cases.cases()]
        assert all(any(part in name for name in names) for part in parts)
