"""Several networks know more than one: an ensemble, as AlexNet's authors made one.

    python examples/train_ensemble.py

trains seven small networks on the digits of MNIST, those of train_fast.py. They
differ in the seed alone: other first weights, another order of the images. So
they make other mistakes, and the mean of their probabilities is right more
often than each. It prints the error of each network and of all together, and
writes into a new folder below runs/:

    ensemble.png          error against the number of networks
    errors.json           the numbers behind it
    ensemble.safetensors  the weights of all
    run.json              the settings
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import script
import train_fast
import training

import minicnn as mc
from minicnn import data, optim
from minicnn import functional as F
from minicnn.study.figure import FAINT, INK, new_figure, plain_axes, save_figure
from minicnn.train import Ensemble

COLOUR = "#1f6fb4"
MOST = 12  # networks: there are 4095 choices of some of them, and each is tried


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    add("--members", type=int, default=7, metavar="N", help=f"how many networks, from 2 to {MOST} (default: 7)")
    add("--dataset", default="mnist", choices=["mnist", "fashion-mnist", "kmnist"], help="default: mnist")
    add("--data-folder", metavar="FOLDER", help="where the files of the data set are, if not in their usual places")
    add("--images", type=int, metavar="N", help="train with the first N only (default: all)")
    add("--seed", type=int, default=0, metavar="N", help="of the first network; the others follow (default: 0)")
    script.add_device(parser)
    script.add_precision(parser)
    add("--out", type=Path, metavar="FOLDER", help="where to write (default: a new folder below runs/)")
    parser.set_defaults(resume=None)  # it takes a minute or two: nothing to go on with
    return parser.parse_args()


def work(settings: argparse.Namespace) -> None:
    """Train the networks, and find out what they know together."""
    if not 2 <= settings.members <= MOST:
        raise ValueError(f"--members expected a number from 2 to {MOST}, got {settings.members}")
    train, test = training.load_data(settings)
    train = training.first(train, settings.images)
    trainers = [make_trainer(settings, number) for number in range(settings.members)]
    folder = training.run_folder(settings, f"ensemble-{settings.dataset}")
    outputs = [train_member(trainer, number, train, test) for number, trainer in enumerate(trainers)]
    errors = errors_of_choices(np.stack(outputs), test.labels)
    ensemble = Ensemble([trainer.model for trainer in trainers])
    together = mc.Trainer(ensemble, optim.SGD(ensemble.parameters(), 0.1))  # to measure and save: it takes no step
    accuracy = together.evaluate(test)["accuracy"]
    print(
        f"together      test error {100 * (1 - accuracy):.2f} %, one alone {100 * np.mean(errors[0]):.2f} % in the mean"
    )
    together.save(folder / "ensemble.safetensors")
    draw(errors, folder / "ensemble.png")
    training.write_text(folder / "errors.json", json.dumps(errors, indent=2))
    for path in sorted(folder.iterdir()):
        print(f"  {path}")


def make_trainer(settings: argparse.Namespace, number: int) -> mc.Trainer:
    """The Trainer of member `number`."""
    device = script.chosen_device(settings.device)
    return train_fast.make_trainer(settings.seed + number, device, settings.precision)


def train_member(trainer: mc.Trainer, number: int, train: data.ArrayDataset, test: data.ArrayDataset) -> np.ndarray:
    """Train a network; its outputs (N, K) for the test images."""
    trainer.fit(train, len(train_fast.RATES), batch_size=train_fast.BATCH_SIZE)
    outputs = trainer.predict(test.images)
    print(
        f"network {number + 1:<5} test error {100 * (outputs.argmax(axis=1) != test.labels).mean():.2f} %", flush=True
    )
    return outputs


def errors_of_choices(outputs: np.ndarray, labels: np.ndarray) -> list[list[float]]:
    """For each m the errors of all choices of m of the M networks, from their outputs (M, N, K)."""
    p = F.softmax(mc.tensor(outputs)).numpy()
    return [
        [float((p[list(choice)].mean(axis=0).argmax(axis=1) != labels).mean()) for choice in choices]
        for choices in (itertools.combinations(range(len(p)), m) for m in range(1, len(p) + 1))
    ]


def draw(errors: list[list[float]], path: Path) -> None:
    """The mean error against the number of networks, and every choice of so many as a dot."""
    figure = new_figure(6, 4)
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes = figure.add_subplot()
    plain_axes(axes, "Test error of several networks that answer as one")
    sizes = range(1, len(errors) + 1)
    for size, each in zip(sizes, errors, strict=True):
        label = "each choice of so many" if size == 1 else None
        axes.plot([size] * len(each), each, "o", color=COLOUR, alpha=0.25, markersize=5, markeredgewidth=0, label=label)
    means = [np.mean(each) for each in errors]
    axes.plot(sizes, means, "-o", color=COLOUR, markersize=5, label="their mean")
    for size, (right, align) in ((1, (8, "left")), (len(errors), (0, "center"))):
        axes.annotate(f"{means[size - 1]:.2%}", (size, means[size - 1]), (right, 8), textcoords="offset points",
                      ha=align, color=INK, fontsize=9)  # fmt: skip
    axes.set_xlabel("networks", color=INK)
    axes.set_ylim(0, 1.15 * max(errors[0]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    save_figure(figure, path)


def main() -> None:
    """Every fault of the user's is one sentence."""
    with script.faults_in_one_sentence(__file__):
        settings = parse_arguments()
        script.need_matplotlib()
        work(settings)


if __name__ == "__main__":
    main()
