"""Grade the exercises beside this file.

    python examples/exercises/check.py [NAME ...]

Each file in this folder is an exercise: it says what is asked, and has a blank
where the answer belongs. For each test there is a line: pass, FAIL with what
was expected and what came, or blank where nothing is written yet. The exit
status is 0 if all tests pass, 1 if not.
"""

import argparse
import difflib
import sys
from pathlib import Path

try:
    from grading.running import FAIL, PASS, Result, Unusable, grade, tests_of
except ImportError as error:
    sys.exit(f"{error}: install NumPy, or minicnn with `pip install -e .` in the folder of its README.md")

FOLDER = Path(__file__).resolve().parent
EXERCISES = ("convolution", "pooling", "batch_norm", "softmax_cross_entropy", "adadelta")
INDENT = " " * 9


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    description, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"which of {', '.join(EXERCISES)} (default: all)")
    add("--folder", type=Path, default=FOLDER, help="where your files are, if not beside this one")
    add("--seconds", type=float, default=5.0, metavar="S", help="how long a test may take (default: 5)")
    settings = parser.parse_args()
    for name in settings.names:
        if name not in EXERCISES:
            near = difflib.get_close_matches(name, EXERCISES, n=1, cutoff=0.3)
            parser.error(f"no exercise is called {name!r}: " + " ".join(["did you mean", *near] if near else EXERCISES))
    if not 0 < settings.seconds <= 3600:
        parser.error(f"--seconds expected a number above 0, at most 3600, got {settings.seconds:g}")
    return settings


def graded(exercise: str, path: Path, seconds: float) -> tuple[int, int]:
    """(how many tests pass, how many there are) of an exercise, after a line about each."""
    print(f"\n{exercise}", flush=True)
    results: list[Result] = []
    try:
        if not path.is_file():
            raise Unusable(f"there is no file {path}")
        for result in grade(exercise, path, seconds):
            results.append(result)
            report(result)
    except Unusable as fault:
        report(Result(f"no test can run: {path.name} has a fault", FAIL, str(fault)))
    passed = sum(result.verdict == PASS for result in results)
    print(f"  {passed} of {len(tests_of(exercise))} pass", flush=True)
    return passed, len(tests_of(exercise))


def report(result: Result) -> None:
    """The line of a test, and below it what was expected and what came."""
    print(f"  {result.verdict:5}  {result.title}", flush=True)
    if result.verdict == FAIL:
        print("\n".join(INDENT + line for line in result.message.splitlines()), flush=True)


def main() -> None:
    """Grade the exercises that are named, or all."""
    settings = parse_arguments()
    names = settings.names or EXERCISES
    try:
        scores = [graded(name, settings.folder.resolve() / f"{name}.py", settings.seconds) for name in names]
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    passed, count = map(sum, zip(*scores, strict=True))
    if len(names) > 1:
        print(f"\nin all {passed} of {count} pass")
    sys.exit(passed < count)


if __name__ == "__main__":
    main()
