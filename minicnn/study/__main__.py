"""Pictures of a network, one command each: `python -m minicnn.study filters --model lenet5 -o filters.png`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _random, data, nn, optim
from .. import functional as F
from .._files import check_place
from .._tensor import Tensor
from ..data import DataLoader, to_input
from ..nn import Module
from ..ops.conv import Conv2d
from ..train.metrics import confusion_matrix, main_output
from ..train.trainer import Trainer
from . import plots, sources
from .gradient_norms import GradientNorms
from .sources import Source
from .steps import run_steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any
PROGRAM = "python -m minicnn.study"
HELP = f"""a model is one of:
  a name of minicnn.models, such as lenet5
  FILE.py:FUNCTION, a function of yours that returns a Module
  with --weights RUN alone, that of a run

for example:
  {PROGRAM} filters --model alexnet:2012
  {PROGRAM} grad-cam --model vgg16 --weights vgg16 --image cat.jpg
  {PROGRAM} confusion --weights runs/lenet5-mnist -o confusion.png

{PROGRAM} PICTURE --help lists the options of one."""


# The pictures. Each docstring is what --help says.


def filters(options: argparse.Namespace) -> Figure:
    """the kernels of a convolution, by default the first"""
    source = _source(options)
    run = run_steps(source.model, np.zeros(source.shape, np.float32), "filters")
    convolutions = [step for step in run.steps if isinstance(step.operation, Conv2d)]
    if options.layer is not None:
        convolutions = [run.find(options.layer, "filters")]
    if not convolutions or not isinstance(convolutions[0].operation, Conv2d):
        raise ValueError(f"there are no filters in {options.layer or 'this model'}: it is no convolution")
    return plots.filter_grid(convolutions[0].inputs[1].numpy(), options.out)


def features(options: argparse.Namespace) -> Figure:
    """the feature maps, layer by layer"""
    source = _source(options)
    layers = None if options.layer is None else options.layer.split(",")
    return plots.feature_maps(source.model, _image(options, source), options.out, layers)


def saliency(options: argparse.Namespace) -> Figure:
    """which pixels move a class's score (Simonyan 2014)"""
    source = _source(options)
    image, names = _image(options, source), _classes(source, options)
    return plots.saliency(source.model, image, options.label, names, options.out)


def grad_cam(options: argparse.Namespace) -> Figure:
    """where maps speak for a class (Selvaraju 2017)"""
    source = _source(options)
    image, names = _image(options, source), _classes(source, options)
    return plots.grad_cam(source.model, image, options.label, options.layer, names, options.out)


def receptive_fields(options: argparse.Namespace) -> Figure:
    """what a unit sees of the image, and what weighs"""
    source = _source(options)
    position = None if options.position is None else tuple(options.position)
    return plots.receptive_fields(source.model, _image(options, source), options.layer, position, options.out)


def activations(options: argparse.Namespace) -> Figure:
    """histograms of activations and of their gradients"""
    batch = options.batch_size
    if options.model is None and options.weights is None:
        train, _ = data.mnist()
        stacks = {name: deep_stack(name.lower()) for name in ("Sigmoid", "ReLU")}
        return plots.activation_histograms(stacks, train.images[:batch], train.labels[:batch], path=options.out)
    source = _source(options)
    train, _ = sources.dataset(source, options.dataset, options.data_folder)
    images = sources.fitted(train.images[:batch], source.shape)
    return plots.activation_histograms(source.model, images, train.labels[:batch], _loss, options.out)


def gradients(options: argparse.Namespace) -> Figure:
    """how long each layer's gradient is, step by step"""
    source = _source(options)
    train, _ = sources.dataset(source, options.dataset, options.data_folder)
    optimizer = optim.SGD(source.model.parameters(), options.lr, momentum=0.9)
    source.model.train()
    with GradientNorms(source.model, optimizer) as norms:
        for images, labels in _batches(train, options.batch_size, options.steps):
            optimizer.zero_grad()
            _loss(source.model(Tensor(to_input(sources.fitted(images, source.shape)))), labels).backward()
            optimizer.step()
    return plots.gradient_norms(norms.by_layer, options.out)


def confusion(options: argparse.Namespace) -> Figure:
    """which class was taken for which"""
    source = _source(options)
    test, outputs = _predictions(options, source)
    matrix = confusion_matrix(test.labels, outputs.argmax(axis=1), outputs.shape[1])
    names = sources.class_names(source, options.dataset, outputs.shape[1])
    return plots.confusion_heatmap(matrix, names, options.out)


def mistakes(options: argparse.Namespace) -> Figure:
    """the images that it got most wrong"""
    source = _source(options)
    test, outputs = _predictions(options, source)
    names = sources.class_names(source, options.dataset, outputs.shape[1])
    return plots.worst_mistakes(test.images, test.labels, outputs, names, options.out)


def curves(options: argparse.Namespace) -> Figure:
    """loss and accuracy of a run; of several their errors"""
    histories = {folder: sources.history(folder) for folder in options.runs}
    if len(histories) == 1:
        return plots.learning_curves(histories[options.runs[0]], options.out)
    return plots.error_curves(histories, options.out)


def classical(options: argparse.Namespace) -> Figure:
    """edges, sharpening, blur: seven filters on a photo"""
    if options.image is None:
        return plots.classical_filters(sources.landscape(), options.out)
    raw = sources.RAW
    return plots.classical_filters(data.read_photo(options.image, 320, 320, raw.mean, raw.deviation), options.out)


def deep_stack(activation: str, depth: int = 10, width: int = 100) -> Module:
    """A fully connected network for digits, with as many hidden layers; the same weights for each activation."""
    _random.seed(0)
    hidden = (nn.Linear(784 if i == 0 else width, width, activation=activation) for i in range(depth))
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, 10))


# What they draw


def _source(options: argparse.Namespace) -> Source:
    shape = getattr(options, "input_shape", None)
    return sources.load(options.model, options.weights, None if shape is None else tuple(shape))


def _image(options: argparse.Namespace, source: Source) -> Array:
    """The photo, or a test image of the data set, as the model takes it."""
    if options.image is not None:
        return sources.read_image(options.image, source)
    _, test = sources.dataset(source, options.dataset, options.data_folder)
    if not 0 <= options.number < len(test):
        raise ValueError(f"--number expected 0 to {len(test) - 1}, got {options.number}")
    x = to_input(sources.fitted(test.images[options.number : options.number + 1], source.shape))[0]
    return sources.normalised(x, source)


def _classes(source: Source, options: argparse.Namespace) -> Sequence[str] | None:
    """The names of the model's classes, as far as they are known: else None."""
    run = run_steps(source.model, np.zeros(source.shape, np.float32), "the class names")
    return sources.class_names(source, options.dataset, run.scores.shape[-1])


def _predictions(options: argparse.Namespace, source: Source) -> tuple[data.ArrayDataset, Array]:
    """The test set, or its first images, fitted to the model, and the model's outputs (N, K)."""
    _, test = sources.dataset(source, options.dataset, options.data_folder)
    count = options.images
    images = sources.fitted(test.images[:count], source.shape)
    trainer = Trainer(source.model, optim.SGD(source.model.parameters(), 1.0))
    return data.ArrayDataset(images, test.labels[:count], test.classes), trainer.predict(images)


def _batches(train: data.ArrayDataset, size: int, steps: int) -> Iterator[tuple[Array, Array]]:
    """As many shuffled batches as there are to be steps, epoch after epoch."""
    loader = DataLoader(train, size, shuffle=True)
    done = 0
    while done < steps:
        for indices in loader.indices(done // len(loader)):
            if done == steps:
                return
            yield train.images[indices], train.labels[indices]
            done += 1


def _loss(result: Any, labels: Array) -> Tensor:
    return F.cross_entropy(main_output(result), labels)


# The command line

PICTURES: tuple[Callable[[argparse.Namespace], Figure], ...] = (
    filters, features, saliency, grad_cam, receptive_fields, activations, gradients, confusion, mistakes, curves,
    classical,
)  # fmt: skip
OF_AN_IMAGE = (features, saliency, grad_cam, receptive_fields)
OF_A_DATASET = (*OF_AN_IMAGE, activations, gradients, confusion, mistakes)


def parser() -> argparse.ArgumentParser:
    """A command for each picture, each with the options that it reads."""
    whole = argparse.ArgumentParser(
        prog=PROGRAM, usage=f"{PROGRAM} PICTURE [options]", epilog=HELP,
        description="Draw a network: one picture into one PNG.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = whole.add_subparsers(dest="picture", metavar="PICTURE", title="pictures")
    for picture in PICTURES:
        name = picture.__name__.replace("_", "-")
        usage = f"{PROGRAM} {name} " + ("RUN [RUN ...] [options]" if picture is curves else "[options]")
        one = commands.add_parser(name, help=picture.__doc__, description=picture.__doc__, usage=usage)
        one.set_defaults(draw=picture)
        one.add_argument("-o", "--out", default=f"{name}.png", metavar="FILE", help=f"the PNG (default: {name}.png)")
        _add_options(one.add_argument, picture)
    return whole


def _add_options(add: Callable[..., Any], picture: Callable[..., Figure]) -> None:
    """The options that a picture reads."""
    if picture is curves:
        add("runs", nargs="+", metavar="RUN", help="the folder of a training")
    elif picture is not classical:
        default = "two deep stacks, of sigmoids and of ReLUs" if picture is activations else "lenet5"
        add("--model", metavar="NAME", help="of minicnn.models, or FILE.py:FUNCTION (default: the run's, or "
            f"{default})")  # fmt: skip
        add("--weights", metavar="SOURCE", help="the folder of a run, its model.safetensors, a file of torchvision's "
            "or timm's weights, or a name under which they are published (default: none, as drawn)")  # fmt: skip
        add("--input-shape", nargs=3, type=int, metavar=("H", "W", "C"), help="if the model does not say it")
    if picture in OF_A_DATASET:
        add("--dataset", choices=sources.DATASETS, help="(default: the run's, or mnist)")
        add("--data-folder", metavar="FOLDER", help="where its files are, if not in their usual places")
    if picture in OF_AN_IMAGE:
        add("--image", metavar="PHOTO", help="a file that Pillow can read (default: an image of the test set)")
        add("--number", type=int, default=0, metavar="N", help="of the image in the test set (default: 0)")
    if picture in (filters, features, grad_cam, receptive_fields):
        several = ", or several with commas" if picture is features else ""
        add("--layer", metavar="NAME", help=f"a layer{several}; a wrong name lists those that there are")
    if picture in (saliency, grad_cam):
        add("--label", type=int, metavar="K", help="number of the class (default: the one that the model says)")
    if picture is receptive_fields:
        add("--position", nargs=2, type=int, metavar=("ROW", "COLUMN"), help="of the unit (default: the middle)")
    if picture in (activations, gradients):
        add("--batch-size", type=int, default=64, metavar="N", help="(default: 64)")
    if picture is gradients:
        add("--steps", type=int, default=100, metavar="N", help="(default: 100)")
        add("--lr", type=float, default=0.05, metavar="RATE", help="learning rate of SGD (default: 0.05)")
    if picture in (confusion, mistakes):
        add("--images", type=int, metavar="N", help="only the first of the test set (default: all)")
    if picture is classical:
        add("--image", metavar="PHOTO", help="a file that Pillow can read (default: a drawn landscape)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture that is asked for; every fault of the user's is one sentence."""
    options = parser().parse_args(arguments)
    if options.picture is None:
        sys.exit(f"name a picture, as in `{PROGRAM} filters --model lenet5`; `{PROGRAM} --help` lists them")
    for name in ("batch_size", "steps", "images"):
        if getattr(options, name, None) is not None and getattr(options, name) < 1:
            sys.exit(f"{PROGRAM}: --{name.replace('_', '-')} expected a number from 1, got {getattr(options, name)}")
    try:
        check_place(options.out, "the picture")
        options.draw(options)
    except (ValueError, TypeError, RuntimeError, OSError, ImportError, MemoryError) as error:
        sys.exit(f"{PROGRAM}: {error}")
    print(options.out)


if __name__ == "__main__":
    main()
