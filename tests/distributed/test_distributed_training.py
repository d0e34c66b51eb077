"""Several ranks train as one would: the same curve, the same weights everywhere, one file of each kind."""

import json
import math

import numpy as np
import pytest
from ranks import needs_mpi, run
from safetensors.numpy import load_file

pytestmark = needs_mpi

COMMON = """
import hashlib, json
from minicnn import data, nn, optim
from minicnn.data import transforms
from minicnn.train import BestCheckpoint, Callback, CSVLog, EarlyStopping, JSONLinesLog

mc.set_threads(1)
ranks = distributed.init(timeout=30)
mc.seed(ranks.rank)                       # each rank has a seed of its own: rank 0's is to be that of all
rng = np.random.default_rng(0)
labels = rng.integers(0, 5, 641)          # five batches of 128, and one of a single sample
images = (rng.random((641, 12, 12, 1)) * 100 + labels[:, None, None, None] * 30).astype(np.uint8)
train, tests = data.ArrayDataset(images, labels), data.ArrayDataset(images[:37], labels[:37])
augment = transforms.Compose([transforms.RandomCrop(12, padding=2), transforms.RandomHorizontalFlip()])

def network(norm=False):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), *([nn.BatchNorm2d(4)] if norm else []), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(None, 16, activation="relu"), nn.Dropout(0.2), nn.Linear(16, 5))

class Watch(Callback):
    def __init__(self):
        self.steps = []
    def on_step_end(self, trainer, record):
        self.steps.append(record["loss"])

def trainer(model=None, lr=0.02, callbacks=(), **options):
    model = network() if model is None else model
    optimizer = optim.SGD(model.parameters(), lr, momentum=0.9)
    return mc.Trainer(model, optimizer, callbacks=callbacks, communicator=ranks, **options)

def loader(dataset=train, batch_size=128, **options):
    return data.DataLoader(dataset, batch_size, shuffle=True, transform=augment, workers=1, **options)

def digest(trained):
    arrays = [p.data for p in trained.model.parameters()] + [a for a in trained.model.buffers()]
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()

def tell(**values):
    everywhere = ranks.gather(values)
    if ranks.is_main:
        print(json.dumps(everywhere))
"""


def results(size, code, tmp_path):
    """What `tell` told of each rank."""
    tmp_path.mkdir(exist_ok=True)
    job = run(size, COMMON + code, tmp_path)
    assert job.status == 0, job.errors
    return json.loads(job.output)


CURVES = """
watch = Watch()
one = trainer(callbacks=[watch])
history = one.fit(loader(), 34, validation=tests)
two = trainer(accumulate=2, clip_norm=0.5)
more = two.fit(loader(batch_size=30), 2)
tell(losses=watch.steps, history=history, digest=digest(one), tests=one.evaluate(tests, batch_size=7), more=more,
     epoch=one.epoch, digests=digest(two))
"""


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """By the number of ranks what each tells of a training of 204 steps."""
    return {size: results(size, CURVES, tmp_path_factory.mktemp(f"curves{size}")) for size in (1, 2, 4)}


@pytest.mark.slow
def test_after_200_steps_all_ranks_have_the_same_bits(curves):
    for size, told in curves.items():
        assert len(told[0]["losses"]) == 204
        assert len(told) == size
        assert len({each["digest"] for each in told}) == len({each["digests"] for each in told}) == 1


@pytest.mark.slow
def test_every_rank_has_the_same_history_and_measures_the_same(curves):
    for told in curves.values():
        assert all(each == told[0] for each in told)
        assert set(told[0]["history"]) == {"loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"}


@pytest.mark.slow
def test_any_number_of_ranks_follows_one_curve(curves):
    alone = curves[1][0]
    assert alone["losses"][-1] < 0.9 * alone["losses"][0]  # something is learnt
    for size in (2, 4):
        together = curves[size][0]
        np.testing.assert_allclose(together["losses"][:18], alone["losses"][:18], rtol=2e-6)
        np.testing.assert_allclose(together["losses"], alone["losses"], rtol=1e-3)
        for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
            np.testing.assert_allclose(together["history"][name], alone["history"][name], rtol=1e-3, err_msg=name)


@pytest.mark.slow
def test_accumulated_and_clipped_steps_follow_it_too(curves):
    for size in (2, 4):
        np.testing.assert_allclose(curves[size][0]["more"]["loss"], curves[1][0]["more"]["loss"], rtol=1e-5)


@pytest.mark.slow
def test_every_sample_is_measured_once(curves):
    """Of 37 samples in batches of 7, shared by 4: an accuracy is a whole number of 37ths."""
    for told in curves.values():
        correct = told[0]["tests"]["accuracy"] * 37
        assert math.isclose(correct, round(correct), abs_tol=1e-9)
        np.testing.assert_allclose(told[0]["tests"]["loss"], told[0]["history"]["val_loss"][-1], rtol=1e-6)


FILES = """
class Ender(Callback):
    def on_epoch_end(self, trainer, record):
        if ranks.rank == 1 and trainer.epoch == 3:
            trainer.stop()

logs = [CSVLog("log.csv"), JSONLinesLog("log.jsonl"), EarlyStopping(patience=9), Ender(), BestCheckpoint("best")]
trained = trainer(network(norm=True), callbacks=logs)
history = trained.fit(loader(), 9, validation=tests, checkpoint="last", checkpoint_every=2)
tell(epochs=trained.epoch, history=history)
"""


def test_rank_0_alone_writes_and_any_rank_may_stop(tmp_path):
    told = results(2, FILES, tmp_path)
    assert [each["epochs"] for each in told] == [3, 3]
    assert {path.name for path in tmp_path.iterdir()} == {"script.py", "log.csv", "log.jsonl", "best", "last"}
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy,lr,seconds"
    assert [float(line.split(",")[1]) for line in lines[1:]] == told[1]["history"]["loss"]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


STATISTICS = """
class Ends(Callback):
    def on_step_end(self, trainer, record):
        norm = trainer.model[1]
        self.seen = norm.running_mean.tolist(), norm.running_var.tolist()

ends = Ends()
model = network(norm=True)
average = optim.WeightAverage(model, 0.5)
trained = trainer(model, callbacks=[ends], average=average)
trained.fit(data.ArrayDataset(images[:300], labels[:300]), 1, batch_size=100, validation=tests, checkpoint="last")
tell(seen=ends.seen, own=model[1].running_mean.tolist(), followed=average.state_dict()["1.running_mean"].tolist(),
     digest=digest(trained), val=trained.history["val_loss"])
"""


def test_a_checkpoint_has_the_statistics_of_all_ranks(tmp_path):
    told = results(3, STATISTICS, tmp_path)
    saved = load_file(tmp_path / "last")
    means, variances = (np.array([each["seen"][i] for each in told]) for i in (0, 1))
    assert np.ptp(means, axis=0).max() > 1e-4  # the ranks saw different samples
    np.testing.assert_allclose(saved["model.1.running_mean"], means.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(saved["model.1.running_var"], variances.mean(axis=0) + means.var(axis=0), rtol=1e-6)
    assert len({each["digest"] for each in told}) == 1
    assert all(each["followed"] == told[0]["followed"] and each["val"] == told[0]["val"] for each in told)
    np.testing.assert_array_equal(saved["average.1.running_mean"], np.array(told[0]["followed"], np.float32))


INTERRUPTED = """
class Cut(Callback):
    def on_step_end(self, trainer, record):
        if (trainer.epoch, trainer.batch) == (1, 3):
            trainer.save("cut")

mc.seed(7)
trained = trainer(callbacks=[Cut()])
history = trained.fit(loader(), 2)
tell(loss=history["loss"], weights=trained.model[5].weight.data.tolist())
"""
RESUMED = """
mc.seed(7)
trained = trainer(callbacks=[])
trained.load("cut")
history = trained.fit(loader(), 1, checkpoint="next")
tell(loss=history["loss"], weights=trained.model[5].weight.data.tolist(), batch=trained.batch)
"""


def test_a_run_goes_on_on_another_number_of_ranks_in_the_middle_of_an_epoch(tmp_path):
    straight = results(2, INTERRUPTED, tmp_path)
    for size in (1, 3):
        resumed = results(size, RESUMED, tmp_path)
        assert len(resumed) == size
        np.testing.assert_allclose(resumed[0]["loss"], straight[0]["loss"], rtol=1e-6)
        np.testing.assert_allclose(resumed[0]["weights"], straight[0]["weights"], rtol=1e-4, atol=1e-6)


KILLED = """
import signal
class Killed(Callback):
    def on_step_end(self, trainer, record):
        if ranks.rank == 1 and (trainer.epoch, trainer.batch) == (1, 3):
            os.kill(os.getpid(), signal.SIGKILL)

mc.seed(7)
trained = trainer(callbacks=[Killed()] if ranks.size == 3 else [])
if ranks.size == 2 and os.path.exists("last"):
    trained.load("last")
begun = trained.epoch, trained.batch
history = trained.fit(loader(), 2 - trained.epoch, checkpoint="last", checkpoint_every=1)
tell(begun=begun, loss=history["loss"], digest=digest(trained))
"""


@pytest.mark.slow
def test_after_a_rank_was_killed_less_ranks_go_on_from_the_checkpoint(tmp_path):
    straight = results(1, KILLED, tmp_path / "straight")[0]
    job = run(3, COMMON + KILLED, tmp_path)
    assert job.status != 0
    assert "digest" not in job.output
    rest = results(2, KILLED, tmp_path)
    assert rest[0]["begun"][0] == 1
    assert rest[0]["begun"][1] in (2, 3)
    assert rest[0]["digest"] == rest[1]["digest"]
    np.testing.assert_allclose(rest[0]["loss"], straight["loss"], rtol=1e-5)


DIFFERENT = """
def message(*arguments, **options):
    try:
        fitted.fit(*arguments, **options)
    except ValueError as error:
        return str(error)

one = ranks.rank == 1
said = {}
fitted = trainer(nn.Sequential(nn.Flatten(), nn.Linear(144, 6 if one else 5)))
said["shape"] = message(train, 1)
fitted = trainer(nn.Sequential(nn.Flatten(), nn.Linear(144, 5)).to(dtype="float64" if one else "float32"))
said["dtype"] = message(train, 1)
fitted = trainer(lr=0.1 if one else 0.2)
said["lr"] = message(train, 1)
fitted = trainer(nn.Sequential(nn.Flatten(), nn.Linear(144, 5)))
said["samples"] = message(data.ArrayDataset(images[:100], labels[:100]) if one else train, 1)
said["checkpoint"] = message(train, 1, checkpoint="x" if one else None)
said["small"] = message(train, 1, batch_size=1)
fitted = trainer(nn.Sequential(nn.Conv2d(1, 2, 3, stride=1 + one), nn.GlobalAvgPool2d(), nn.Linear(2, 5)))
said["layer"] = message(train, 1)  # its arrays are alike
model = nn.Sequential(nn.Flatten(), nn.Linear(144, 5))
fitted = trainer(model, average=optim.WeightAverage(model, 0.5))
if one:
    fitted.average.update()
said["average"] = message(train, 1)
fitted = trainer(nn.Sequential(nn.Flatten(), nn.Linear(144, 5)))
fitted.epoch += one
said["epoch"] = message(train, 2 - one)
tell(**said)
"""


def test_ranks_that_do_not_fit_together_are_named(tmp_path):
    told = results(2, DIFFERENT, tmp_path)
    assert told[0] == told[1]
    expected = {
        "shape": ("the layer ['1']", "out_features=5, bias=True)' and rank 1 has", "out_features=6, bias=True)'"),
        "dtype": ("['1.weight']", "rank 0 has 'float32 (144, 5)' and rank 1 has 'float64 (144, 5)'"),
        "lr": ("['optimizer'][1]['lr']", "rank 0 has 0.2 and rank 1 has 0.1"),
        "samples": ("['training data']['samples']", "rank 0 has 641 and rank 1 has 100"),
        "checkpoint": ("['checkpoint']", "rank 0 has 'none' and rank 1 has 'a file'"),
        "small": ("batches of 1 samples for 2 ranks",),
        "layer": ("the layer ['0']", "kernel_size=(3, 3), stride=(1, 1))' and rank 1 has 'Conv2d(", "stride=(2, 2))'"),
        "average": ("the array ['average.1.weight']", "rank 0 has nothing and rank 1 has 'float32 (144, 5)'"),
        "epoch": ("['epochs done']", "rank 0 has 0 and rank 1 has 1"),
    }
    for name, parts in expected.items():
        assert all(words in told[0][name] for words in parts), told[0][name]


SYNCHRONISED = """
mc.seed(3)
model = network(norm=True)
if ranks.size > 1:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model, ranks)
watch = Watch()
trained = trainer(model, callbacks=[watch])
history = trained.fit(loader(), 3, validation=tests)
tell(losses=watch.steps, history=history["val_loss"], digest=digest(trained),
     running=[model[1].running_mean.tolist(), model[1].running_var.tolist()], steps=int(model[1].num_batches_tracked))
"""


def test_with_synchronised_batch_norm_too_any_number_of_ranks_follows_one_curve(tmp_path):
    """Every epoch ends with a batch of one sample: all ranks but one have none, and count none."""
    alone = results(1, SYNCHRONISED, tmp_path)[0]
    for size in (2, 3):
        told = results(size, SYNCHRONISED, tmp_path)
        assert len({each["digest"] for each in told}) == 1
        for name in ("losses", "history", "running"):
            np.testing.assert_allclose(told[0][name], alone[name], rtol=1e-4, atol=1e-6, err_msg=name)
        assert told[0]["steps"] == alone["steps"] == 18


BROKEN = """
from minicnn import functional as F
calls = []
def loss(outputs, labels):
    calls.append(1)
    return F.cross_entropy(outputs, labels) * (float("nan") if ranks.rank == 1 and len(calls) == 3 else 1.0)
trainer(loss=loss).fit(loader(), 2, checkpoint="last")
"""


def test_a_loss_that_is_not_finite_on_one_rank_ends_the_job_with_its_name(tmp_path):
    job = run(2, COMMON + BROKEN, tmp_path)
    assert job.status != 0
    assert "rank 1: RuntimeError: the loss became nan in epoch 1, batch 3" in job.said
    assert not (tmp_path / "last").exists()
