"""The place of a checkpoint: full, read-only or taken by another run; the old file stays whole, and nothing is left."""

import errno
import os
import resource
import stat
import subprocess
import sys
import threading

import pytest
from safetensors.numpy import load_file

import minicnn as mc
from minicnn import train
from minicnn._files import claimed, write_whole


class AtStep(train.Callback):
    """Does something once, after a step."""

    def __init__(self, number, action):
        self.left, self.action = number, action

    def on_step_end(self, trainer, record):
        self.left -= 1
        if self.left == 0:
            self.action()


def with_action(small, number, action):
    made = small.trainer()
    return mc.Trainer(made.model, made.optimizer, schedule=made.schedule, callbacks=[AtStep(number, action)])


def test_a_file_has_one_run_at_a_time(small, dataset, tmp_path):
    def second():
        with pytest.raises(BlockingIOError, match=r"another run is writing the checkpoint here.*run") as caught:
            small.trainer().fit(dataset, 1, checkpoint=tmp_path / "link")
        assert caught.value.filename == str(tmp_path / "run")

    (tmp_path / "link").symlink_to(tmp_path / "run")
    small.trainer().fit(dataset, 1, checkpoint=tmp_path / "run")
    first = with_action(small, 1, second)
    first.load(tmp_path / "run")
    first.fit(dataset, 1, checkpoint=tmp_path / "run")
    assert sorted(os.listdir(tmp_path)) == ["link", "run"]
    assert first.epoch == 2
    small.trainer().fit(dataset, 1, checkpoint=tmp_path / "run")  # it is free again


HOLDER = """
import sys, time
from minicnn._files import claimed
with claimed(sys.argv[1], "the checkpoint"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_claim_dies_with_its_process(tmp_path):
    place = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="another run"), claimed(place, "the checkpoint"):
            pass
        other.kill()
        other.wait()
    assert os.listdir(tmp_path) == ["run.lock"]
    with claimed(place, "the checkpoint"):
        pass
    assert os.listdir(tmp_path) == []


def test_only_our_own_leftovers_of_that_file_are_removed(small, dataset, tmp_path):
    ours, others = "run.0123abcd.part", ["other.0123abcd.part", "run.0123ABCD.part", "run.part", "run.zip.part"]
    for name in (ours, *others):
        (tmp_path / name).write_bytes(b"half")
    small.trainer().fit(dataset, 1, checkpoint=tmp_path / "run")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "run"])


@pytest.fixture
def smallest_disk():
    """The system itself refuses files of more than 2000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_the_system_cuts_off(small, dataset, tmp_path, smallest_disk):
    write_whole(tmp_path / "run", b"old", "the checkpoint")
    trainer = small.trainer()
    with pytest.raises(OSError, match="the checkpoint was not written, and what stood there before is untouched"):
        trainer.fit(dataset, 1, batch_size=10, checkpoint=tmp_path / "run", checkpoint_every=1)
    assert (tmp_path / "run").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["run"]


@pytest.fixture
def nobody():
    """An ordinary user, whom a read-only folder stops as it does not stop root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_read_only_folder(small, dataset, tmp_path, request):
    place, trainer = tmp_path / "run", small.trainer()
    trainer.fit(dataset, 1, checkpoint=place)
    whole = place.read_bytes()
    for folder in tmp_path.parents:  # pytest's own, which are for their owner alone
        if "pytest-" in str(folder):
            folder.chmod(folder.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    tmp_path.chmod(0o555)
    request.getfixturevalue("nobody")
    with pytest.raises(PermissionError, match="the folder of the checkpoint, cannot be written to: choose another"):
        trainer.fit(dataset, 1, checkpoint=place)
    with pytest.raises(OSError, match="the checkpoint was not written") as caught:
        trainer.save(place)
    assert caught.value.errno in (errno.EACCES, errno.EROFS)
    assert place.read_bytes() == whole
    assert os.listdir(tmp_path) == ["run"]


def test_an_interrupt_in_mid_epoch_leaves_a_part_of_it(small, dataset, tmp_path):
    """5 batches an epoch, saved after each second: Ctrl-C in the 9th leaves 3 batches of the second epoch."""

    def interrupt():
        raise KeyboardInterrupt

    straight = small.trainer()
    straight.fit(dataset, 3, batch_size=10)
    stopped = with_action(small, 9, interrupt)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(dataset, 3, batch_size=10, checkpoint=tmp_path / "run", checkpoint_every=2)
    assert os.listdir(tmp_path) == ["run"]
    resumed = small.trainer()
    resumed.load(tmp_path / "run")
    assert (resumed.epoch, resumed.batch) == (1, 2)
    history = resumed.fit(dataset, 2, batch_size=10)
    assert small.same(small.arrays(resumed), small.arrays(straight))
    assert history["loss"] == straight.history["loss"]
    assert (resumed.epoch, resumed.batch) == (3, 0)


def test_an_interrupt_leaves_no_thread_and_no_file(small, dataset, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    made = small.trainer()
    logs = [train.CSVLog(tmp_path / "log.csv"), train.BestCheckpoint(tmp_path / "best")]
    trainer = mc.Trainer(made.model, made.optimizer, callbacks=[*logs, AtStep(6, interrupt)])
    loader = mc.data.DataLoader(dataset, 10, transform=lambda image, rng: image, workers=2)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(loader, 3, validation=dataset, checkpoint=tmp_path / "run", checkpoint_every=1)
    assert set(threading.enumerate()) == before
    assert sorted(os.listdir(tmp_path)) == ["best", "log.csv", "run"]


def test_an_epoch_goes_on_only_with_the_data_it_began_with(small, dataset, tmp_path):
    saving = with_action(small, 3, lambda: saving.save(tmp_path / "run"))
    saving.fit(dataset, 1, batch_size=10)
    trainer = small.trainer()
    trainer.load(tmp_path / "run")
    for call, text in [
        (lambda: trainer.fit(dataset, 1, batch_size=20), "after batch 3 of 5, with batch_size=10, batches=5"),
        (lambda: trainer.fit(mc.data.DataLoader(dataset, 10), 1), "with shuffle=1, and cannot go on with shuffle=0"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
    assert trainer.batch == 3
    assert len(trainer.fit(dataset, 1, batch_size=10)["loss"]) == 1
    trainer.fit(dataset, 1, batch_size=20)  # a whole epoch may have what it likes


def test_a_file_of_version_1_is_read(small, dataset, request):
    """It was written after 2 of 4 epochs by the minicnn that wrote them."""
    path = request.path.parent / "files" / "version1.safetensors"
    straight, resumed = small.trainer(), small.trainer()
    straight.fit(dataset, 4, batch_size=16)
    resumed.load(path)
    saved = load_file(path)
    for name, parameter in resumed.model.named_parameters():
        assert parameter.data.tobytes() == saved[f"model.{name}"].tobytes()
    assert (resumed.epoch, resumed.batch) == (2, 0)
    history = resumed.fit(dataset, 2, batch_size=16)
    assert history["lr"] == straight.history["lr"]
    # Another processor may have rounded the first two epochs otherwise.
    assert history["loss"] == pytest.approx(straight.history["loss"], rel=1e-3)


def test_the_average_belongs_to_the_file(small, dataset, tmp_path):
    def make(averaged):
        made = small.trainer(schedule=False)
        average = mc.optim.WeightAverage(made.model, 0.9) if averaged else None
        return mc.Trainer(made.model, made.optimizer, average=average)

    for first in (True, False):
        make(first).fit(dataset, 1, checkpoint=tmp_path / "run")
        with pytest.raises(ValueError, match="the run in the file had the average"):
            make(not first).load(tmp_path / "run")
