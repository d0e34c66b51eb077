"""A training script such as a person runs, for the tests that kill it: started again, it goes on where it was.

As a program it waits for lines "FOLDER OPTIMIZER SECONDS", and forks a process for each, so that nothing has to be
imported and loaded again; it kills the process after so many seconds, and prints how it ended.
"""

import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

import minicnn as mc
from minicnn import _files, data, nn, optim, train

EPOCHS, SAMPLES, BATCH = 3, 50, 8
STEPS = EPOCHS * 4  # of two batches each: 7 batches an epoch
PIECE, PAUSE = 256, 0.0002  # bytes and seconds: writing takes most of the time, so that most kills hit it


class SlowFile:
    """A file that is written in small pieces."""

    def __init__(self, path, mode):
        self.file = open(path, mode, buffering=0)  # noqa: SIM115  closed by __exit__
        self.flush, self.fileno = self.file.flush, self.file.fileno

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        for first in range(0, len(content), PIECE):
            self.file.write(content[first : first + PIECE])
            time.sleep(PAUSE)


def noise(image, rng):
    """An augmentation that draws."""
    return image // 2 + rng.integers(0, 100, image.shape, dtype=np.uint8)


def samples():
    rng = np.random.default_rng(1)
    return data.ArrayDataset(rng.integers(0, 256, (SAMPLES, 6, 6, 1), np.uint8), rng.integers(0, 5, SAMPLES))


def make_trainer(folder, name):
    mc.seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
                          nn.Linear(64, 5))  # fmt: skip
    groups = [{"params": list(model.parameters())[:4]}, {"params": model[-1].parameters(), "weight_decay": 1e-3}]
    optimizer = optim.SGD(groups, 0.05, momentum=0.9) if name == "sgd" else optim.Adadelta(groups)
    callbacks = [train.EarlyStopping(patience=9), train.CSVLog(folder / "log.csv"),
                 train.BestCheckpoint(folder / "best", "val_loss")]  # fmt: skip
    return mc.Trainer(
        model, optimizer, schedule=optim.CosineAnnealingLR(optimizer, STEPS), schedule_interval="step",
        callbacks=callbacks, accumulate=2, clip_norm=1.0, average=optim.WeightAverage(model, 0.9),
    )  # fmt: skip


def run(folder, name):
    """What the script does; the same command starts it and goes on with it."""
    trainer, checkpoint = make_trainer(folder, name), folder / "run"
    loader = data.DataLoader(samples(), BATCH, shuffle=True, transform=noise)
    if checkpoint.exists():
        trainer.load(checkpoint)
    if trainer.epoch < EPOCHS:
        trainer.fit(loader, EPOCHS - trainer.epoch, validation=samples(), checkpoint=checkpoint, checkpoint_every=1)


def forked(folder, name, seconds):
    """Run in a process of its own, which is killed after so many seconds; returns how it ended."""
    child = os.fork()
    if child == 0:
        try:
            run(folder, name)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    end = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)  # its number is still its own: nobody has waited for it
        time.sleep(0.001)
    return os.waitstatus_to_exitcode(ended[1])


def main():
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), "sgd")  # loads what would else be loaded by each process
    _files.open = SlowFile
    for line in sys.stdin:
        folder, name, seconds = line.split()
        print(forked(Path(folder), name, float(seconds)), flush=True)


if __name__ == "__main__":
    main()
