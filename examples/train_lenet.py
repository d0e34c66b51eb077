"""Train LeNet-5 on MNIST, and keep what a person wants to see.

    python examples/train_lenet.py

trains on all 60,000 digits, prints how well each class of the 10,000 test
digits is recognised, and writes into a new folder below runs/:

    learning_curves.png    loss and accuracy, epoch by epoch
    confusion_matrix.png   which digit was taken for which
    filters.png            what the first layer looks for
    worst_mistakes.png     the digits that the network got most wrong
    history.json           the numbers behind the curves
    model.safetensors      the weights, and all that is needed to go on
    run.json               the settings

Ctrl-C stops it; --resume FOLDER goes on after the last finished epoch, as if it
had never stopped. The Keras digit network as its authors train it:

    python examples/train_lenet.py --model digit_cnn --optimizer adadelta \\
        --weight-decay 0 --batch-size 128 --epochs 12
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

try:
    import minicnn as mc
except ImportError as error:
    sys.exit(
        str(error)
        if "checkout" in str(error)
        else f"{error}: install minicnn first, with `pip install -e .` in the folder above examples/"
    )

from minicnn import data, models, nn, optim
from minicnn import functional as F
from minicnn.study import plots
from minicnn.train import class_report, confusion_matrix, format_report

CHECKPOINT = "model.safetensors"
IMAGES = (28, 28, 1)  # the shape of an image in both datasets
# The learning rate of SGD and the weight decay with which each form of LeNet-5 learns well, and any other model.
# Sigmoids saturate early, and decay would keep the weights there; the 1998 loss starts near 80, not near 2.
RECIPES = {"lenet5": (0.1, 5e-4), "lenet5:d2l": (0.1, 0.0), "lenet5:1998": (0.003, 0.0)}
OTHERS = (0.05, 5e-4)


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line; with --resume those of the run that goes on."""
    description, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    fitting = [name for name in models.names() if models.input_shape(name) == IMAGES]
    add("--model", default="lenet5", metavar="NAME", help=f"one of {', '.join(fitting)} (default: lenet5)")
    add("--dataset", default="mnist", choices=["mnist", "fashion-mnist"], help="what to learn (default: mnist)")
    add("--data-folder", metavar="FOLDER", help="where the four Fashion-MNIST files are, if not in their usual places")
    add("--optimizer", default="sgd", choices=["sgd", "adadelta"], help="default: sgd, with momentum 0.9 (Nesterov)")
    add("--lr", type=float, metavar="RATE", help="learning rate at the start; it falls to 0 along a cosine "
        "(default: 1.0 for adadelta, for sgd what suits the model, 0.1 for lenet5)")  # fmt: skip
    add("--weight-decay", type=float, metavar="RATE", help="L2 penalty on all weights (default: what suits the "
        "model, 5e-4 for lenet5)")  # fmt: skip
    add("--epochs", type=int, default=15, metavar="N", help="passes over the training images (default: 15)")
    add("--batch-size", type=int, default=64, metavar="N", help="images in a step (default: 64)")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same run (default: 0)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute: cuda is an NVIDIA GPU; "
        "auto takes one if it can be used (default: auto)")  # fmt: skip
    add("--precision", default="float32", choices=["float32", "tf32", "float16"], help="on a GPU: tf32 rounds the "
        "factors of products to 10 binary digits, float16 is mixed precision, with half the memory for images and "
        "what is made of them (default: float32)")  # fmt: skip
    add("--kernels", default="cpu", choices=mc.kernels.ROOMS, help="compiled kernels (cpu), or the plain NumPy ones "
        "that are written to be read (reference), many times slower (default: cpu)")  # fmt: skip
    add("--threads", type=int, metavar="N", help="threads of the compiled kernels (default: one for each core)")
    add("--out", type=Path, metavar="FOLDER", help="where to write (default: a new folder below runs/)")
    add("--resume", type=Path, metavar="FOLDER", help="go on with the run in FOLDER, with its settings; "
        "all other options are ignored")  # fmt: skip
    arguments = parser.parse_args()
    return load_settings(arguments.resume) if arguments.resume else arguments


def load_settings(folder: Path) -> argparse.Namespace:
    """The settings of a run that goes on."""
    if not (folder / CHECKPOINT).exists() or not (folder / "run.json").exists():
        raise ValueError(f"there is nothing to resume in {folder}: it has no {CHECKPOINT} and run.json")
    settings = json.loads((folder / "run.json").read_text())
    return argparse.Namespace(**settings, out=folder, resume=folder)


def make_trainer(settings: argparse.Namespace) -> mc.Trainer:
    """The model, its optimizer and its schedule."""
    if settings.epochs < 1:
        raise ValueError(f"--epochs expected a number from 1, got {settings.epochs}")
    if models.input_shape(settings.model) != IMAGES:
        raise ValueError(f"{settings.model} is made for images {models.input_shape(settings.model)}, not {IMAGES}")
    device = settings.device
    if device == "auto":
        device = "cuda" if mc.cuda_available() else "cpu"
    if device == "cpu" and settings.precision != "float32":
        raise ValueError(f"--precision {settings.precision} is for a GPU, and this is the device cpu: use float32")
    mc.seed(settings.seed)
    mc.set_float32_matmul_precision("high" if settings.precision == "tf32" else "highest")
    model = models.build(settings.model).to(device)
    rate, decay = RECIPES.get(settings.model, OTHERS)
    decay = decay if settings.weight_decay is None else settings.weight_decay
    if settings.optimizer == "sgd":
        lr = rate if settings.lr is None else settings.lr
        optimizer: optim.Optimizer = optim.SGD(model.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=decay)
    else:
        lr = 1.0 if settings.lr is None else settings.lr
        optimizer = optim.Adadelta(model.parameters(), lr, weight_decay=decay)
    loss = models.map_criterion if settings.model == "lenet5:1998" else F.cross_entropy
    schedule = optim.CosineAnnealingLR(optimizer, settings.epochs)
    precision = "float16" if settings.precision == "float16" else "float32"
    return mc.Trainer(model, optimizer, loss, schedule=schedule, precision=precision)


def load_data(settings: argparse.Namespace) -> tuple[data.DataLoader, data.ArrayDataset]:
    """The training set in shuffled batches, and the test set."""
    train, test = data.mnist() if settings.dataset == "mnist" else data.fashion_mnist(settings.data_folder)
    return data.DataLoader(train, settings.batch_size, shuffle=True), test


def run_folder(settings: argparse.Namespace) -> Path:
    """The folder to write to; a new one unless it is named, and never one that holds another run."""
    if settings.resume:
        return Path(settings.out)
    stem = f"{settings.model}-{settings.dataset}".replace(":", "-")
    number, folder = 1, settings.out or Path("runs") / stem
    while settings.out is None and folder.exists():
        number, folder = number + 1, Path("runs") / f"{stem}-{number + 1}"
    if (folder / CHECKPOINT).exists():
        raise ValueError(f"{folder} holds a run already: go on with --resume {folder}, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in vars(settings).items() if name not in ("out", "resume")}
    write_text(folder / "run.json", json.dumps(kept, indent=2))
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place and rename it, so that no crash leaves half of one."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    os.replace(beside, path)


def train(trainer: mc.Trainer, loader: data.DataLoader, test: data.ArrayDataset, settings: argparse.Namespace,
          folder: Path) -> None:  # fmt: skip
    """Train for the epochs that are left, saving after each."""
    print(mc.summary(trainer.model))
    left = settings.epochs - trainer.epoch
    print(f"\n{left} epochs on {len(loader.dataset)} images of {settings.dataset}, into {folder}")
    if settings.kernels == "cpu":
        print("The kernels are compiled when they are first used, so the first epoch of the first run takes longer.")
    start = time.perf_counter()
    if left > 0:
        trainer.fit(loader, left, validation=test, checkpoint=folder / CHECKPOINT)
    print(f"trained for {time.perf_counter() - start:.1f} s")


def report(trainer: mc.Trainer, test: data.ArrayDataset, folder: Path) -> None:
    """Print the table of the classes, draw the pictures, write the history."""
    outputs = trainer.predict(test.images)
    confusion = confusion_matrix(test.labels, outputs.argmax(axis=1), outputs.shape[1])
    print("\n" + format_report(class_report(confusion, test.classes)))
    plots.learning_curves(trainer.history, folder / "learning_curves.png")
    plots.confusion_heatmap(confusion, test.classes, folder / "confusion_matrix.png")
    plots.worst_mistakes(test.images, test.labels, outputs, test.classes, folder / "worst_mistakes.png")
    first = next((m for m in trainer.model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None:
        plots.filter_grid(first.weight.numpy(), folder / "filters.png")
    write_text(folder / "history.json", json.dumps(trainer.history, indent=2))
    correct = int(confusion.trace())
    print(f"\ntest accuracy {100 * correct / len(test):.2f} % ({len(test) - correct} of {len(test)} wrong)")
    for path in sorted(folder.iterdir()):
        print(f"  {path}")


def main() -> None:
    """Train, and report; every fault of the user's is one sentence."""
    try:
        settings = parse_arguments()
        if importlib.util.find_spec("matplotlib") is None:  # said now, and not when the training is done
            raise ImportError('the pictures need matplotlib: pip install "minicnn[plots]"')
        if settings.threads is not None:
            mc.set_threads(settings.threads)
        with mc.kernels.use(settings.kernels):
            trainer = make_trainer(settings)
            loader, test = load_data(settings)
            folder = run_folder(settings)
            if settings.resume:
                trainer.load(folder / CHECKPOINT)
            try:
                train(trainer, loader, test, settings, folder)
            except KeyboardInterrupt:
                sys.exit(
                    f"\nstopped after {trainer.epoch} finished epochs, which are kept: go on with --resume {folder}"
                    if (folder / CHECKPOINT).exists()
                    else "\nstopped before the first epoch was finished: nothing is kept"
                )
            report(trainer, test, folder)
    except (ValueError, TypeError, RuntimeError, OSError, ImportError, MemoryError) as error:
        sys.exit(f"train_lenet.py: {error}")


if __name__ == "__main__":
    main()
