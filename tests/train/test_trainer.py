"""The Trainer: what it computes, what it leaves as it was, and what it refuses."""

import functools
import gc
import math

import numpy as np
import pytest

import minicnn as mc
from minicnn import data, nn, optim
from minicnn import functional as F


class Recording(nn.Module):
    """A linear network that keeps what it was called with."""

    def __init__(self, K=5):
        super().__init__()
        self.linear = nn.Linear(64, K)
        self.calls = []

    def forward(self, x):
        self.calls.append((self.training, x.dtype, x.shape))
        return self.linear(x.reshape(len(x), -1))


def make(model, lr=0.05, **settings):
    return mc.Trainer(model, optim.SGD(model.parameters(), lr), **settings)


def test_it_learns(small, dataset):
    history = small.trainer(schedule=False).fit(dataset, 12, batch_size=8, validation=dataset)
    assert history["val_loss"][-1] < 0.7 * history["val_loss"][0]
    assert history["val_accuracy"][-1] > 0.6
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert all(len(values) == 12 and all(type(v) is float for v in values) for values in history.values())


def test_one_epoch_is_the_loop_written_by_hand(small, dataset):
    trainer = small.trainer("adadelta", schedule=False)
    trainer.fit(dataset, 1, batch_size=16)

    other = small.trainer("adadelta", schedule=False)
    for x, labels in data.DataLoader(dataset, 16, shuffle=True):
        loss = F.cross_entropy(other.model(mc.Tensor(x)), labels)
        other.optimizer.zero_grad()
        loss.backward()
        other.optimizer.step()
    assert small.same(small.arrays(trainer), small.arrays(other))


class WithHead(nn.Module):
    """A linear network that has a second opinion in training."""

    def __init__(self):
        super().__init__()
        self.linear, self.head = nn.Linear(64, 5), nn.Linear(64, 5)

    def forward(self, x):
        x = x.reshape(len(x), -1)
        return (self.linear(x), self.head(x)) if self.training else self.linear(x)


def test_a_loss_may_take_more_than_the_metrics_see(dataset):
    """The tuple of a network with auxiliary heads: the first is measured."""

    def loss(outputs, labels):
        if not isinstance(outputs, tuple):
            return F.cross_entropy(outputs, labels)
        return F.cross_entropy(outputs[0], labels) + 0.3 * F.cross_entropy(outputs[1], labels)

    model = WithHead()
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    x = dataset.images.reshape(50, 64).astype(np.float32) / 255
    logits = [x @ before[f"{name}.weight"] for name in ("linear", "head")]  # the biases are 0 still
    parts = [F.cross_entropy(mc.tensor(y), dataset.labels).item() for y in logits]
    trainer = make(model, loss=loss)
    history = trainer.fit(dataset, 1, batch_size=50, validation=dataset)
    assert history["loss"][0] == pytest.approx(parts[0] + 0.3 * parts[1], rel=1e-5)
    assert history["accuracy"][0] == (logits[0].argmax(axis=1) == dataset.labels).mean()
    assert all((p.data != before[name]).any() for name, p in model.named_parameters())
    assert trainer.predict(dataset.images).shape == (50, 5)
    with pytest.raises(TypeError, match="got a tuple of 2"):
        make(WithHead()).fit(dataset, 1)


def test_the_schedule_is_stepped_after_each_epoch(small, dataset):
    history = small.trainer().fit(dataset, 4, batch_size=32)
    assert history["lr"] == pytest.approx([0.025 * (1 + math.cos(math.pi * e / 4)) for e in range(4)])


def test_epochs_are_more_epochs_and_the_history_is_of_all(small, dataset):
    trainer = small.trainer()
    assert len(trainer.fit(dataset, 1)["loss"]) == 1
    history = trainer.fit(dataset, 2, validation=dataset)
    assert trainer.epoch == 3
    assert len(history["loss"]) == len(history["val_loss"]) == 3
    assert math.isnan(history["val_loss"][0])
    history["loss"].append(0.0)
    assert len(trainer.history["loss"]) == 3


def test_evaluate_weighs_an_uneven_last_batch_by_its_samples(small, dataset):
    trainer = small.trainer()
    trainer.fit(dataset, 1)
    outputs = trainer.predict(dataset.images)
    expected = {
        "loss": F.cross_entropy(mc.Tensor(outputs), dataset.labels).item(),
        "accuracy": float((outputs.argmax(axis=1) == dataset.labels).mean()),
    }
    for size in (None, 1, 16, 49, 50):
        assert trainer.evaluate(dataset, batch_size=size) == pytest.approx(expected, rel=1e-5)
    assert trainer.evaluate(data.DataLoader(dataset, 7, shuffle=True)) == pytest.approx(expected, rel=1e-5)


def test_evaluate_and_predict_leave_modes_weights_and_the_graph_alone(small, dataset):
    trainer = small.trainer()
    trainer.fit(dataset, 1)
    trainer.model.train()
    trainer.model[1].eval()  # a frozen BatchNorm2d has to stay frozen
    modes, before = [module.training for module in trainer.model.modules()], small.arrays(trainer)
    trainer.evaluate(dataset)
    trainer.predict(dataset.images)
    with pytest.raises(ValueError, match="NaN"):
        trainer.predict(np.full((2, 8, 8, 1), np.nan))
    assert [module.training for module in trainer.model.modules()] == modes
    assert small.same(small.arrays(trainer), before)
    assert trainer.model(mc.Tensor(np.zeros((1, 8, 8, 1), np.float32))).requires_grad


def test_predict_takes_bytes_and_floats_alike(dataset):
    trainer = make(Recording())
    outputs = trainer.predict(dataset.images, batch_size=16)
    assert outputs.shape == (50, 5)
    assert outputs.dtype == np.float32
    floats = trainer.predict(dataset.images / 255, batch_size=16)  # float64, rounded to float32 once
    np.testing.assert_allclose(floats, outputs, rtol=1e-6, atol=1e-6)
    assert trainer.model.calls[0] == (False, np.float32, (16, 8, 8, 1))
    assert trainer.model.calls[3] == (False, np.float32, (2, 8, 8, 1))


def test_a_model_of_float64_is_fed_float64(dataset):
    trainer = make(Recording().to(dtype=np.float64))
    trainer.fit(dataset, 1)
    assert trainer.model.calls[0] == (True, np.float64, (50, 8, 8, 1))


def test_a_model_of_float64_without_any_values_is_fed_float64(dataset):
    trainer = make(nn.Sequential(nn.Flatten(), nn.Linear(None, 5, bias=False)).to(dtype=np.float64))
    trainer.fit(dataset, 1)
    assert trainer.model[1].weight.dtype == np.float64
    assert trainer.predict(dataset.images).dtype == np.float64


def test_a_loss_with_its_options_set(dataset):
    """As the docstring of cross_entropy has it; the same bits as the function written out."""

    def written_out(outputs, labels):
        return F.cross_entropy(outputs, labels, np.arange(1, 6), 0.1)

    losses = functools.partial(F.cross_entropy, weight=np.arange(1, 6), label_smoothing=0.1), written_out
    histories = []
    for loss in losses:
        mc.seed(0)
        histories.append(make(Recording(), loss=loss).fit(dataset, 1, batch_size=8)["loss"])
    assert histories[0] == histories[1]
    assert "cross_entropy" in repr(losses[0])
    assert "label_smoothing=0.1" in repr(losses[0])


def test_a_metric_of_ones_own(dataset):
    def top2(outputs, labels):
        assert type(outputs) is type(labels) is np.ndarray
        return np.mean([label in row.argsort()[-2:] for row, label in zip(outputs, labels, strict=True)])

    trainer = make(Recording(), metrics=("accuracy", top2))
    history = trainer.fit(dataset, 1, validation=dataset)
    assert history["top2"][0] >= history["accuracy"][0]
    assert trainer.evaluate(dataset)["top2"] == history["val_top2"][0]


def test_a_loader_brings_its_own_batch_size_which_validation_shares(dataset):
    trainer = make(Recording())
    trainer.fit(data.DataLoader(dataset, 20), 1, validation=dataset)
    assert [shape[0] for _, _, shape in trainer.model.calls] == [20, 20, 10, 20, 20, 10]
    for call in (trainer.fit, lambda loader, epochs, size: trainer.evaluate(loader, size)):
        with pytest.raises(ValueError, match="batch_size=8 was given beside a DataLoader"):
            call(data.DataLoader(dataset, 20), 1, 8)
    trainer.fit(dataset, 1, batch_size=25, validation=data.DataLoader(dataset, 50))
    assert [shape[0] for _, _, shape in trainer.model.calls[6:]] == [25, 25, 50]


def test_memory_stays_flat(small, dataset):
    def alive():
        gc.collect()
        return sum(issubclass(type(thing), mc.Tensor | mc.Function) for thing in gc.get_objects())

    trainer = small.trainer()
    trainer.fit(dataset, 1, batch_size=8)
    before = alive()
    trainer.fit(dataset, 2, batch_size=2, validation=dataset)
    assert alive() == before


@pytest.mark.parametrize("epochs", [0, -1, 1.5, None, True, "3"])
def test_epochs_have_to_be_a_whole_number_from_1(small, dataset, epochs):
    with pytest.raises((ValueError, TypeError), match="fit expected epochs"):
        small.trainer().fit(dataset, epochs)


def test_images_with_a_nan_are_named(small, dataset):
    images = dataset.images / np.float32(255)
    images[17, 3, 3] = np.nan
    with pytest.raises(ValueError, match="number 17 of the data set"):
        small.trainer().fit(data.ArrayDataset(images, dataset.labels), 1)


def test_labels_out_of_range_are_named_before_the_first_step(small, dataset):
    labels = dataset.labels.copy()
    labels[40] = 5
    wrong = data.ArrayDataset(dataset.images, labels)
    for settings in ({"train": wrong}, {"train": dataset, "validation": wrong}):
        trainer = small.trainer()
        trainer.predict(dataset.images)
        before = {name: p.data.copy() for name, p in trainer.model.named_parameters()}
        with pytest.raises(ValueError, match="sample 40 of the data set has the label 5"):
            trainer.fit(epochs=1, batch_size=4, **settings)
        assert all(np.array_equal(p.data, before[name]) for name, p in trainer.model.named_parameters())


class Parity(data.ArrayDataset):
    """Whether a number is odd."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image, label % 2


class ParityLoader(data.DataLoader):
    def batches(self, *place):
        return ((x, labels % 2) for x, labels in super().batches(*place))


@pytest.mark.parametrize(
    "load",
    [
        lambda raw: data.DataLoader(Parity(raw.images, raw.labels), 8),
        lambda raw: data.DataLoader(raw, 8, batch_transform=lambda x, labels, rng: (x, labels % 2)),
        lambda raw: ParityLoader(raw, 8),
    ],
)
def test_labels_that_are_changed_later_are_looked_at_later(dataset, load):
    """No label of the data set itself has an output, but those of its batches do."""
    raw = data.ArrayDataset(dataset.images, dataset.labels + 10)
    known = data.DataLoader(data.ArrayDataset(dataset.images, dataset.labels % 2), 8)
    histories = []
    for loader in (known, load(raw)):
        mc.seed(0)
        histories.append(make(Recording(2)).fit(loader, 1, validation=loader))
    assert histories[0]["val_loss"] == histories[1]["val_loss"]


def test_labels_that_a_batch_transform_leaves_without_an_output_are_refused_by_the_loss(dataset):
    same = data.DataLoader(dataset, 50, batch_transform=lambda x, labels, rng: (x, labels))
    with pytest.raises(ValueError, match="expected labels from 0 to 1 for 2 classes, got 4"):
        make(Recording(2)).fit(same, 1)


def test_a_loss_that_is_not_finite_stops_before_the_step(small, dataset):
    calls = []

    def loss(outputs, labels):
        calls.append(1)
        return F.cross_entropy(outputs, labels) * (float("nan") if len(calls) == 8 else 1.0)

    model = Recording()
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    trainer = make(model, loss=loss)
    trainer.fit(dataset, 1, batch_size=10)
    weights = model.linear.weight.data.copy()
    trainer.optimizer.lr = 1e-30  # so small that the good batches change nothing
    with pytest.raises(RuntimeError, match="the loss became nan in epoch 2, batch 3: try a smaller learning rate"):
        trainer.fit(dataset, 1, batch_size=10)
    assert not np.array_equal(before["linear.weight"], weights)
    np.testing.assert_array_equal(model.linear.weight.data, weights)


@pytest.mark.filterwarnings("ignore:overflow")
def test_weights_spoilt_by_the_last_step_are_not_saved(dataset, tmp_path):
    trainer = make(Recording())
    trainer.fit(dataset, 1, checkpoint=tmp_path / "run")
    whole = (tmp_path / "run").read_bytes()
    trainer.optimizer.lr = 1e39
    with pytest.raises(RuntimeError, match=r"linear.\w+ is no longer finite after batch 1 of epoch 2, which was not"):
        trainer.fit(dataset, 1, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == whole
    trainer.load(tmp_path / "run")
    assert trainer.epoch == 1
    assert np.isfinite(trainer.model.linear.weight.data).all()


def test_a_model_that_is_no_classifier(dataset):
    class Images(Recording):
        def forward(self, x):
            return x * self.linear.weight[0, 0]

    class Nothing(Recording):
        def forward(self, x):
            return None

    for kind, text in ((Images, r"got shape \(50, 8, 8, 1\)"), (Nothing, "got NoneType")):
        trainer = make(kind())
        for call in (lambda t: t.fit(dataset, 1), lambda t: t.predict(dataset.images), lambda t: t.evaluate(dataset)):
            with pytest.raises(ValueError, match=text):
                call(trainer)


def test_a_loss_that_is_no_number(dataset):
    for loss, text in ((lambda y, labels: y, r"got shape \(50, 5\)"), (lambda y, labels: 1.0, "got float")):
        with pytest.raises(TypeError, match=text):
            make(Recording(), loss=loss).fit(dataset, 1)


def test_nothing_to_train(dataset):
    model = Recording()
    trainer = make(model)
    with mc.no_grad(), pytest.raises(RuntimeError, match="inside no_grad"):
        trainer.fit(dataset, 1)
    for parameter in model.parameters():
        parameter.requires_grad = False
    with pytest.raises(RuntimeError, match="nothing to train"):
        trainer.fit(dataset, 1)


def test_a_part_of_the_model_can_be_trained(small, dataset):
    model = small.network()
    model(mc.Tensor(np.zeros((2, 8, 8, 1), np.float32)))
    first = model[0].weight.data.copy()
    last = model[6].weight.data.copy()
    mc.Trainer(model, optim.SGD(model[6].parameters(), 0.1)).fit(dataset, 1)
    np.testing.assert_array_equal(model[0].weight.data, first)
    assert not np.array_equal(model[6].weight.data, last)


def test_parts_that_do_not_belong_together(small):
    model, other = small.network(), small.network()
    optimizer = optim.SGD(model.parameters(), 0.1)
    schedule = optim.CosineAnnealingLR(optim.SGD(other.parameters(), 0.1), 3)
    for arguments, settings, text in [
        ((lambda x: x, optimizer), {}, "expected model to be of class Module, got function"),
        ((model, model.parameters()), {}, "expected optimizer to be of class Optimizer, got generator"),
        ((other, optimizer), {}, "not this model's"),
        ((model, optimizer), {"schedule": schedule}, "another optimizer"),
        ((model, optimizer), {"schedule": "cosine"}, "Schedule or None, got str"),
        (
            (model, optimizer),
            {"schedule": optim.ReduceLROnPlateau(optimizer), "schedule_interval": "step"},
            'what a whole epoch measured: use "epoch"',
        ),
        ((model, optimizer), {"loss": "cross_entropy"}, "loss to be a function"),
        ((model, optimizer), {"metrics": ("f1",)}, 'known by name are "accuracy" and "top5_accuracy"'),
    ]:
        with pytest.raises((ValueError, TypeError), match=text):
            mc.Trainer(*arguments, **settings)


def test_what_fit_evaluate_and_predict_refuse(small, dataset):
    trainer = small.trainer()
    for call, text in [
        (lambda: trainer.fit(dataset.images, 1), r"got ndarray|expected|should give \(image, label\)"),
        (lambda: trainer.fit(None, 1), "got NoneType"),
        (lambda: trainer.fit(dataset, 1, batch_size=0), "batch_size"),
        (lambda: trainer.fit(dataset, 1, progress="yes"), "progress"),
        (lambda: trainer.evaluate(dataset, batch_size=2.5), "batch_size"),
        (lambda: trainer.predict(dataset), "use dataset.images"),
        (lambda: trainer.predict(mc.tensor(dataset.images)), "got Tensor"),
        (lambda: trainer.predict(dataset.images[0]), r"shape \(N, H, W, C\)"),
        (lambda: trainer.predict(dataset.images[:0]), "at least one image"),
        (lambda: trainer.predict(dataset.images, batch_size=0), "batch_size"),
        (lambda: trainer.predict(dataset.images.astype(complex)), "uint8"),
        (lambda: trainer.fit(dataset, 1, checkpoint="no/such/folder/run"), "folder of the checkpoint"),
        (lambda: trainer.fit(dataset, 1, checkpoint="."), "is a folder"),
    ]:
        with pytest.raises((ValueError, TypeError, OSError), match=text):
            call()
    assert trainer.epoch == 0
