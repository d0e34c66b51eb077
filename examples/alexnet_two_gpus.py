"""Train AlexNet as in 2012: its two towers on two GPUs, or two processes.

    mpiexec -n 2 python examples/alexnet_two_gpus.py dogs-vs-cats/train
    mpiexec -n 2 python examples/alexnet_two_gpus.py --demo

The second draws a small folder of pictures to try it with. Each of two ranks
has half of the filters, and they exchange activations where a layer reads both
halves (Krizhevsky et al. 2012, section 3.2): it is one network, of which no
rank holds more than a half, and the same as models.alexnet(variant="2012") on
one. What each holds, and what goes between them, is printed first.

Photos may have any size and format; a fifth of each class is kept for the test,
and both ranks read all of them. In training a photo is made 259 pixels high or
wide, whichever is less, and a square of 227 is cut out anywhere, half of them
mirrored. For two classes AlexNet has 57 million weights: it wants two GPUs, or
patience.
"""

import argparse
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import alexnet_tower
import folders
import numpy as np
import script
import together

import minicnn as mc
from minicnn import data, models, nn, optim
from minicnn.data import transforms
from minicnn.distributed import Communicator

SIZE, SHORT_SIDE = 227, 259  # pixels of what the network sees, and of what that is cut out of


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    folders.add_options(parser)
    add("--lr", type=float, default=0.01, metavar="RATE", help="learning rate at the start; it falls to 0 along a "
        "cosine (default: 0.01)")  # fmt: skip
    add("--weight-decay", type=float, default=5e-4, metavar="RATE", help="L2 penalty on all weights (default: 5e-4)")
    add("--epochs", type=int, default=10, metavar="N", help="passes over the photos (default: 10)")
    add("--batch-size", type=int, default=32, metavar="N", help="photos in a step (default: 32)")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same run (default: 0)")
    script.add_device(parser)
    add("--threads", type=int, metavar="N", help="threads of the compiled kernels of each rank (default: one for each "
        "core, half of them where both ranks share a machine)")  # fmt: skip
    add("--timeout", type=float, default=300.0, metavar="SECONDS", help="how long a rank waits for the other before it "
        "gives up (default: 300)")  # fmt: skip
    add("--out", type=Path, metavar="FILE", help="where to keep the weights, as a checkpoint of the grouped network "
        "(default: they are not kept)")  # fmt: skip
    parser.set_defaults(resume=None)
    return parser.parse_args()


def begin(settings: argparse.Namespace) -> Communicator:
    """The two ranks."""
    communicator = mc.distributed.init(script.chosen_device(settings.device), settings.timeout)
    if communicator.size != 2:
        if not communicator.is_main:
            sys.exit(1)
        raise ValueError(f"the two towers need two ranks, and this job has {communicator.size}: start it with "
                         "`mpiexec -n 2 python examples/alexnet_two_gpus.py --demo`")  # fmt: skip
    return communicator


def load_photos(settings: argparse.Namespace, communicator: Communicator) -> tuple[folders.Part, folders.Part]:
    """The same photos on both ranks. Rank 0 looks first: it draws them, or finds that there are none."""
    if communicator.is_main:
        photos = folders.load_photos(settings)
    communicator.barrier()
    if not communicator.is_main:
        photos = folders.load_photos(settings)
    kept, tested = photos
    found = {"classes": kept.classes, "training": len(kept), "test": len(tested)}
    mc.distributed.check_same(communicator, "photos", found)
    return photos


def print_towers(model: nn.Sequential, communicator: Communicator, batch_size: int) -> None:
    """Which rank holds what, and what the two exchange in a step. Both call it, and rank 0 prints."""
    image = mc.tensor(np.zeros((1, SIZE, SIZE, 3), np.float32)).to(next(model.parameters()).device)
    exchanges = alexnet_tower.bytes_exchanged(model, communicator, image)
    shapes = {name: value.shape for name, value in model.named_parameters()}
    ranks = communicator.gather(shapes)
    held = [sum(math.prod(shape) for shape in rank.values()) for rank in ranks]
    if not communicator.is_main:
        return
    print(f"{'':22}{'held by rank 0':>18}{'by rank 1':>18}  exchanged in a step")
    for name, _ in model.named_modules():
        if f"{name}.weight" in shapes:
            print(f"{name:22}" + "".join(f"{' x '.join(map(str, rank[f'{name}.weight'])):>18}" for rank in ranks))
        elif name in exchanges:
            forward, back = (batch_size * n / 1000 for n in exchanges[name])
            print(f"{name:58}  {forward:,.1f} + {back:,.1f} kB")
    exchanged = batch_size * sum(map(sum, exchanges.values())) / 1000
    print(f"{'parameters':22}" + "".join(f"{n:>18,}" for n in held) + f"  {exchanged:,.1f} kB")
    gradients = 2 * 4 * sum(held) / 1000  # a sum on two ranks sends each once in either direction, in four bytes
    print("\nThat is activations forward + gradients back, of both ranks together. Had each the\n"
          f"whole network, and half of the photos, it would be {gradients:,.1f} kB: the gradients\n"
          f"of all {sum(held):,} parameters.\n", flush=True)  # fmt: skip


def keep(state: Mapping[str, np.ndarray], K: int, path: Path) -> None:
    """Write the weights of both towers as a checkpoint of models.alexnet(K, "2012")."""
    grouped = models.alexnet(K, "2012")
    grouped.load_state_dict(dict(state))
    mc.Trainer(grouped, optim.SGD(grouped.parameters(), 0.01)).save(path)
    print(f"the weights of both towers, as those of the grouped network: {path}")


def work(settings: argparse.Namespace, communicator: Communicator) -> None:
    """Train this rank's tower, beside the other."""
    cores = together.cores(communicator)  # both ranks call it, whichever has --threads
    mc.set_threads(cores if settings.threads is None else settings.threads)
    if settings.out is not None and (settings.out.is_dir() or not os.access(settings.out.parent, os.W_OK)):
        raise ValueError(f"--out expected a file in a folder that can be written to, got {settings.out}")
    alike = ("lr", "weight_decay", "epochs", "batch_size", "seed", "out")  # or the towers grow apart, or one waits
    mc.distributed.check_same(communicator, "settings", {name: str(getattr(settings, name)) for name in alike})
    photos, test = load_photos(settings, communicator)
    mc.seed(settings.seed)
    model = alexnet_tower.tower(communicator, len(photos.classes)).to(script.chosen_device(settings.device))
    print_towers(model, communicator, settings.batch_size)
    optimizer = optim.SGD(model.parameters(), settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    schedule = optim.CosineAnnealingLR(optimizer, settings.epochs)
    lines = [script.EpochLine()] if communicator.is_main else []
    trainer = mc.Trainer(model, optimizer, schedule=schedule, callbacks=lines)
    augment = [transforms.Resize(SHORT_SIDE), transforms.RandomCrop(SIZE), transforms.RandomHorizontalFlip()]
    # Both ranks see the same photos in the same order, changed in the same way: all of that is drawn from the seed.
    loader = data.DataLoader(photos, settings.batch_size, True, transforms.Compose(augment), workers=settings.workers)
    middles = folders.middles(test, SIZE, SHORT_SIDE, settings.batch_size, settings.workers)
    trainer.fit(loader, settings.epochs, validation=middles, progress=communicator.is_main)
    if settings.out is not None:
        state = alexnet_tower.grouped_state(model, communicator)
        if communicator.is_main:
            keep(state, len(photos.classes), settings.out)


if __name__ == "__main__":
    settings = parse_arguments()
    with script.faults_in_one_sentence(__file__):
        communicator = begin(settings)
    try:
        with script.faults_in_one_sentence(__file__):
            work(settings, communicator)
    except SystemExit as fault:
        communicator.abort(str(fault))  # or the other rank would wait for this one
