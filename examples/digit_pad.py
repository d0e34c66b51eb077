"""Draw a digit in the browser, and watch a trained network read it.

    python examples/digit_pad.py

serves a page on this machine, and for this machine alone: while you draw, it
shows the probability of each digit, the feature maps of each layer, and which
pixels decide. It takes the newest network that examples/train_lenet.py has
trained on MNIST below runs/; where there is none, it lets it train LeNet-5 for
three epochs first, some seconds. Another network, or weights from PyTorch:

    python examples/digit_pad.py --model digit_cnn
    python examples/digit_pad.py --run runs/lenet5-mnist-2
    python examples/digit_pad.py --model lenet5 --weights lenet5.pth
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import script
import train_lenet
import training

from minicnn import models, nn
from minicnn.study import digit_pad

EPOCHS = 3  # where nothing is trained yet


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    fitting = [name for name in models.names() if models.input_shape(name) == train_lenet.IMAGES]
    add("--model", metavar="NAME", help=f"one of {', '.join(fitting)} (default: that of the newest run, or lenet5)")
    add("--run", type=Path, metavar="FOLDER", help="the run to take (default: the newest below runs/)")
    add("--weights", metavar="FILE", help="weights for --model as PyTorch lays them out, .pth or safetensors")
    add("--port", type=int, default=digit_pad.PORT, metavar="N", help="of the page's address; 0 takes one that is "
        f"free (default: {digit_pad.PORT})")  # fmt: skip
    script.add_device(parser)
    return parser.parse_args()


def load_model(settings: argparse.Namespace) -> tuple[nn.Module, str]:
    """The network, and what stands above the pad."""
    if settings.model is not None and models.input_shape(settings.model) != train_lenet.IMAGES:
        shape = models.input_shape(settings.model)
        raise ValueError(f"{settings.model} is made for images {shape}, not {train_lenet.IMAGES}")
    if settings.weights is not None:
        if settings.model is None or settings.run is not None:
            raise ValueError("--weights needs the --model that they are for, and no --run")
        return models.build(settings.model).load_pretrained(settings.weights), settings.model
    if settings.run is not None:
        if not (settings.run / "run.json").exists():
            raise ValueError(f"there is no run in {settings.run}: it has no run.json")
        return model_of(settings.run)
    return model_of(newest_run(settings.model) or train(settings.model or "lenet5", settings.device))


def model_of(folder: Path) -> tuple[nn.Module, str]:
    """The network of a run of train_lenet.py, and how good it is."""
    settings = training.saved_settings(folder)
    if not reads_digits(settings):
        raise ValueError(f"{folder} holds no network for the digits of MNIST that train_lenet.py has trained")
    settings.device, settings.precision = "cpu", "float32"  # not those that the run was begun with
    trainer = train_lenet.make_trainer(settings)
    trainer.load(folder / training.CHECKPOINT)
    right = trainer.history["val_accuracy"][-1]
    return trainer.model, f"{settings.model}, {100 * right:.2f} % of the test digits right"


def newest_run(model: str | None) -> Path | None:
    """The newest run below runs/ that reads digits, of that model if one is wanted."""
    checkpoints = sorted(Path("runs").glob(f"*/{training.CHECKPOINT}"), key=lambda path: path.stat().st_mtime)
    for path in reversed(checkpoints):
        if not (path.parent / "run.json").exists():  # a checkpoint of somebody's own
            continue
        settings = training.saved_settings(path.parent)
        if reads_digits(settings) and model in (None, settings.model):
            return path.parent
    return None


def reads_digits(settings: argparse.Namespace) -> bool:
    """Whether a run with these settings trains on MNIST's own images."""
    name = getattr(settings, "model", None)
    return settings.dataset == "mnist" and name in models.names() and models.input_shape(name) == train_lenet.IMAGES


def train(model: str, device: str) -> Path:
    """Train a network quickly, as a person would, and return the folder of the run."""
    file = Path(train_lenet.__file__)
    command = [sys.executable, str(file), "--model", model, "--epochs", str(EPOCHS), "--device", device]
    print(f"There is no trained {model} below runs/ yet, so first:", flush=True)
    print(f"python examples/{file.name} {' '.join(command[2:])}\n", flush=True)
    if subprocess.run(command).returncode:
        raise RuntimeError("the training was not finished")
    print()
    folder = newest_run(model)
    assert folder is not None
    return folder


def main() -> None:
    """Find or train a network, and serve the pad; every fault of the user's is one sentence."""
    try:
        with script.faults_in_one_sentence(__file__):
            settings = parse_arguments()
            if importlib.util.find_spec("flask") is None:  # said now, and not when a training is done
                raise ImportError('the digit pad needs Flask: pip install "minicnn[study]"')
            if not 0 <= settings.port < 2**16:
                raise ValueError(f"--port expected a number from 0 to 65535, got {settings.port}")
            model, title = load_model(settings)
            digit_pad.serve(model.to(script.chosen_device(settings.device)), title, port=settings.port)
    except KeyboardInterrupt:
        sys.exit("\nended")  # during the training; the server ends by itself


if __name__ == "__main__":
    main()
