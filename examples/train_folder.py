"""Train AlexNet with batch norm on a folder of photos, such as Dogs vs. Cats.

    python examples/train_folder.py dogs-vs-cats/train
    python examples/train_folder.py --demo

The second draws a small folder of pictures to try it with. Photos may have any
size and format; a fifth of each class is kept for the test. In training a photo
is made 259 pixels high or wide, whichever is less, and a square of 227 is cut
out anywhere, half of them mirrored; each test photo is looked at ten times, at
its corners and in the middle, and mirrored, and the mean of the ten
probabilities counts (Krizhevsky et al. 2012, section 4.1). It leaves in a new
folder below runs/ what train_lenet.py leaves, and goes on with --resume.

AlexNet has 58 million weights: a GPU is wanted, or patience, or a smaller
network for images in colour, by --model.
"""

import argparse

import folders
import script
import together
import training

import minicnn as mc
from minicnn import models, optim
from minicnn.data import transforms
from minicnn.study import sources

THUMBNAIL = 128  # pixels of a photo in the report


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line; with --resume those of the run that goes on."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    folders.add_options(parser)
    add("--model", default="alexnet:batch_norm", metavar="NAME", help="any network for images in colour (default: "
        "alexnet:batch_norm)")  # fmt: skip
    add("--lr", type=float, default=0.01, metavar="RATE", help="learning rate at the start; it falls to 0 along a "
        "cosine (default: 0.01)")  # fmt: skip
    add("--weight-decay", type=float, default=4e-4, metavar="RATE", help="L2 penalty on all weights (default: 4e-4)")
    add("--epochs", type=int, default=10, metavar="N", help="passes over the photos (default: 10)")
    add("--batch-size", type=int, default=32, metavar="N", help="photos in a step (default: 32)")
    return training.parse(parser)


def make_trainer(settings: argparse.Namespace, K: int) -> mc.Trainer:
    """The model for K classes, its optimizer and its schedule."""
    model = training.build_model(settings, settings.model)
    sources.new_head(model, K)
    optimizer = optim.SGD(model.parameters(), settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    schedule = optim.CosineAnnealingLR(optimizer, settings.epochs)
    return mc.Trainer(model, optimizer, schedule=schedule, precision=script.storage(settings.precision),
                      communicator=together.ranks(settings))  # fmt: skip


def work(settings: argparse.Namespace) -> None:
    """Train, and report."""
    shape = models.input_shape(settings.model)
    if shape[2] != 3:
        raise ValueError(f"{settings.model} is made for images {shape}, not for photos in colour")
    size, short_side = shape[0], shape[0] * 8 // 7
    train, test = folders.load_photos(settings)
    trainer = make_trainer(settings, len(train.classes))
    augment = transforms.Compose(
        [transforms.Resize(short_side), transforms.RandomCrop(size), transforms.RandomHorizontalFlip()]
    )
    loader = folders.training_loader(settings, train, augment)
    middles = folders.middles(test, size, short_side, settings.batch_size, settings.workers)
    folder = training.train(settings, trainer, loader, middles)
    larger = folders.middles(test, short_side, short_side, settings.batch_size, settings.workers)
    outputs = folders.predict(trainer, larger, lambda photos: transforms.ten_crop(photos, size))
    thumbnails = folders.thumbnails(test, THUMBNAIL, settings.workers)
    training.report(trainer, thumbnails, test.labels, outputs, test.classes, folder)
    print(f"with ten views of each photo; with its middle alone {100 * trainer.history['val_accuracy'][-1]:.2f} %")


if __name__ == "__main__":
    training.run(__file__, parse_arguments, work)
