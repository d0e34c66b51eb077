"""Teach a network that knows ImageNet the classes of your own photos.

    python examples/fine_tune.py PHOTOS
    python examples/fine_tune.py --demo

What a network has learnt from a million photos, to see edges, fur and eyes,
serves for other classes too; so a few hundred photos of your own do. It gets a
new last layer for their classes, which learns with the whole learning rate; all
layers before it learn with a tenth of that, or with --freeze not at all. The
second command draws a folder of pictures to try it with, and --fresh shows what
comes out without the weights.

They are torchvision's, downloaded once and kept below ~/.cache/minicnn; without
a network, name a file of them, .pth or safetensors, of torchvision or timm:

    python examples/fine_tune.py --weights mobilenet_v2-b0353104.pth PHOTOS

It leaves in a new folder below runs/ what train_lenet.py leaves, and goes on
with --resume.
"""

import argparse

import folders
import script
import together
import training

import minicnn as mc
from minicnn import models, nn, optim
from minicnn.data import transforms
from minicnn.study import sources
from minicnn.weights import PUBLISHED, Published

THUMBNAIL = 128  # pixels of a photo in the report


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line; with --resume those of the run that goes on."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    folders.add_options(parser)
    known = [name for name in PUBLISHED if name in models.names()]
    add("--model", default="mobilenet_v2", metavar="NAME", help="with published weights and a linear layer at its end: "
        f"of {', '.join(known)} (default: mobilenet_v2)")  # fmt: skip
    add("--weights", metavar="SOURCE", help="a file of weights for that model, or a name under which they are "
        "published (default: the model's)")  # fmt: skip
    add("--fresh", action="store_true", help="leave the weights as they are drawn from the seed")
    add("--freeze", action="store_true", help="train the new layer only; batch normalisation still takes the "
        "statistics of the new photos")  # fmt: skip
    add("--size", type=int, metavar="N", help="pixels of a photo's side; fewer are faster (default: the model's)")
    add("--lr", type=float, default=0.02, metavar="RATE", help="learning rate of the new layer at the start; it falls "
        "to 0 along a cosine (default: 0.02)")  # fmt: skip
    add("--others", type=float, default=0.1, metavar="SHARE", help="of the learning rate for all other layers "
        "(default: 0.1)")  # fmt: skip
    add("--epochs", type=int, default=5, metavar="N", help="passes over the photos (default: 5)")
    add("--batch-size", type=int, default=32, metavar="N", help="photos in a step (default: 32)")
    return training.parse(parser)


def make_trainer(settings: argparse.Namespace, K: int) -> mc.Trainer:
    """The model with its weights and a new last layer for K classes, its optimizer and its schedule."""
    model = training.build_model(settings, settings.model)
    # A run that goes on has weights of its own, unless it was stopped before it had saved any.
    saved = settings.resume and (settings.resume / training.CHECKPOINT).exists()
    if not settings.fresh and not saved:
        model.load_pretrained(settings.weights or settings.model)
    groups = parameter_groups(model, sources.new_head(model, K), settings)
    optimizer = optim.SGD(groups, settings.lr, momentum=0.9, weight_decay=1e-4)
    schedule = optim.CosineAnnealingLR(optimizer, settings.epochs)
    return mc.Trainer(model, optimizer, schedule=schedule, precision=script.storage(settings.precision),
                      communicator=together.ranks(settings))  # fmt: skip


def parameter_groups(model: nn.Module, head: nn.Module, settings: argparse.Namespace) -> list[dict[str, object]]:
    """The new layer, and all others with a learning rate of their own, or frozen."""
    new = list(head.parameters())
    others = [parameter for parameter in model.parameters() if all(parameter is not own for own in new)]
    if settings.freeze:
        for parameter in others:
            parameter.requires_grad = False
        return [{"params": new}]
    return [{"params": new}, {"params": others, "lr": settings.others * settings.lr}]


def work(settings: argparse.Namespace) -> None:
    """Train, and report."""
    shape = models.input_shape(settings.model)
    if shape[2] != 3:
        raise ValueError(f"{settings.model} is made for images {shape}, not for photos in colour")
    size = shape[0] if settings.size is None else settings.size
    prepared = PUBLISHED.get(settings.model, Published("", short_side=shape[0] * 8 // 7))
    short_side = max(size, size * prepared.short_side // shape[0])
    normalize = transforms.Normalize(prepared.mean, prepared.deviation)
    train, test = folders.load_photos(settings)
    trainer = make_trainer(settings, len(train.classes))
    trainer.model.input_shape = (size, size, 3)  # of which the summary speaks
    augment = transforms.Compose(
        [transforms.RandomResizedCrop(size, scale=(0.4, 1.0)), transforms.RandomHorizontalFlip(), normalize]
    )
    loader = folders.training_loader(settings, train, augment)
    middles = folders.middles(test, size, short_side, settings.batch_size, settings.workers, [normalize])
    folder = training.train(settings, trainer, loader, middles)
    thumbnails = folders.thumbnails(test, THUMBNAIL, settings.workers)
    training.report(trainer, thumbnails, test.labels, folders.predict(trainer, middles), test.classes, folder)


if __name__ == "__main__":
    training.run(__file__, parse_arguments, work)
