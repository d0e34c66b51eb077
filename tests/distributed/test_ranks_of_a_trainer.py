"""Several ranks train together, as threads of one process: what is hard to bring about with processes."""

import time

import numpy as np
import pytest
from threads import run_ranks

import minicnn as mc
from minicnn import data, nn, optim
from minicnn import functional as F
from minicnn.distributed import launching
from minicnn.train import Callback
from minicnn.train import trainer as trainer_module

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (40, 4, 4, 1), np.uint8), RNG.integers(0, 3, 40)


class OwnNorm(nn.BatchNorm2d):
    """A user's own kind of it."""


def networks(size, build):
    """One for each rank, alike."""
    models = []
    for _ in range(size):
        mc.seed(0)
        models.append(build())
    return models


def small(norm=nn.BatchNorm2d):
    return nn.Sequential(nn.Conv2d(1, 2, 3), norm(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


def trainer(model, communicator, **options):
    optimizer = optim.SGD(model.parameters(), 0.05)
    return mc.Trainer(model, optimizer, communicator=communicator, **options)


def samples(count, **options):
    dataset = data.ArrayDataset(IMAGES[:count], LABELS[:count])
    return data.DataLoader(dataset, workers=1, **{"batch_size": 8, **options})


def weights(trained):
    return {name: array.tobytes() for name, array in trained.model.state_dict().items()}


def test_one_process_trains_with_a_communicator_as_without(monkeypatch):
    monkeypatch.setattr(launching, "_started", None)
    monkeypatch.setattr(launching, "place", lambda environment: None)  # no launcher
    seen = []

    class Look(Callback):
        def on_step_end(self, trainer, record):
            seen.append((trainer._ranks, trainer._buckets))

    def trained(model, communicator):
        fitted = trainer(model, communicator, callbacks=[Look()])
        fitted.fit(samples(24), 2, progress=False)
        return weights(fitted)

    one, other = networks(2, small)
    assert trained(one, mc.distributed.init()) == trained(other, None)
    assert seen == [(None, None)] * 12


def test_what_rank_0_saves_all_ranks_can_load_at_once(tmp_path, monkeypatch):
    models, path = networks(2, small), tmp_path / "kept"
    trainer(small(), None).save(path)  # an older one

    def slowly(path, saved, write=trainer_module.save_checkpoint):
        time.sleep(0.3)
        write(path, saved)

    monkeypatch.setattr(trainer_module, "save_checkpoint", slowly)

    def work(communicator):
        trained = trainer(models[communicator.rank], communicator)
        trained.fit(samples(16), 1, progress=False)
        before = weights(trained)
        trained.save(path)
        trained.load(path)
        return before == weights(trained), trained.epoch

    assert run_ranks(2, work) == [(True, 1)] * 2


def test_where_rank_0_cannot_save_the_others_do_not_wait_for_it(tmp_path):
    models = networks(2, small)

    def work(communicator):
        trained = trainer(models[communicator.rank], communicator)
        try:
            trained.save(tmp_path / "no" / "such" / "folder")
        except OSError:
            return communicator.gather("failed")
        return communicator.gather("went on")

    assert run_ranks(2, work, timeout=5.0) == [["failed", "went on"]] * 2


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, OwnNorm])
def test_averages_have_the_statistics_of_all_ranks(norm):
    models = networks(2, lambda: small(norm))

    def work(communicator):
        model = models[communicator.rank]
        trained = trainer(model, communicator, average=optim.WeightAverage(model, 0.5))
        trained.fit(samples(32), 1, progress=False)
        return {name: array.tolist() for name, array in trained.average.state_dict().items()}

    first, second = run_ranks(2, work)
    assert first == second


def test_averages_learn_nothing_of_the_black_images_of_a_rank_without_samples():
    models = networks(3, small)

    class Follow(Callback):
        def __init__(self):
            self.means = []

        def on_step_end(self, trainer, record):
            average = trainer.average.state_dict()["1.running_mean"]
            self.means.append((trainer.model[1].running_mean.copy(), average.copy()))

    def work(communicator):
        model, follow = models[communicator.rank], Follow()
        trained = trainer(model, communicator, average=optim.WeightAverage(model, 0.5), callbacks=[follow])
        trained.fit(samples(8, batch_size=6), 1, progress=False)  # the second batch has a sample for two ranks
        return follow.means

    for (first, _), (second, average) in run_ranks(3, work):
        np.testing.assert_allclose(average, (first + second) / 2, rtol=1e-5)


def test_averages_are_merged_where_the_layer_is(monkeypatch):
    """As they have to be when they lie on the CPU, and the ranks sum arrays on GPUs."""
    from minicnn.train import ranks

    models, moved = networks(2, small), []
    monkeypatch.setattr(ranks, "device_of", lambda array: "the GPU", raising=False)
    monkeypatch.setattr(ranks, "to_device", lambda array, device: moved.append(device) or array)

    def work(communicator):
        model = models[communicator.rank]
        trained = trainer(model, communicator, average=optim.WeightAverage(model, 0.5))
        trained.average.update()
        trained._ranks.average_statistics()

    run_ranks(2, work)
    assert moved == ["the GPU"] * 4


class TwoHeads(nn.Module):
    """Returns (main, aux), as GoogLeNet does in training; the second ends in a batch norm over all ranks."""

    def __init__(self, communicator):
        super().__init__()
        self.body, self.main = nn.Linear(16, 4), nn.Linear(4, 3)
        self.aux, self.norm = nn.Linear(4, 3), nn.SyncBatchNorm(3, communicator)

    def forward(self, x):
        x = F.relu(self.body(x.reshape(len(x), -1)))
        return self.main(x), self.norm(self.aux(x))


def main_alone(outputs, labels):
    return F.cross_entropy(outputs[0], labels)


def weighted(outputs, labels):
    """Class 0 counts nothing; a batch of nothing else would have no mean."""
    return F.cross_entropy(outputs[0], labels, weight=np.array([0, 1, 1], np.float32)) + 0 * outputs[1].sum()


@pytest.mark.parametrize("loss", [main_alone, weighted])
def test_a_rank_without_samples_goes_the_way_that_the_loss_goes(loss):
    """Two ranks have a sample each of the last batch, and the third calls the layers as they do, and no other ones."""
    labels = np.where(LABELS == 0, 1, LABELS)

    def work(communicator):
        mc.seed(0)
        model = TwoHeads(communicator)
        trained = trainer(model, communicator, loss=loss)
        loader = data.DataLoader(data.ArrayDataset(IMAGES[:8], labels[:8]), 6, workers=1)
        trained.fit(loader, 2, progress=False)
        return weights(trained)

    first, *others = run_ranks(3, work, timeout=5.0)
    assert all(each == first for each in others)


def test_a_rank_without_samples_has_mixed_labels_too():
    def mixed(x, labels, rng):
        return x, 0.7 * np.eye(3, dtype=np.float32)[labels] + 0.1

    models = networks(3, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))

    def work(communicator):
        trained = trainer(models[communicator.rank], communicator, metrics=())
        trained.fit(samples(8, batch_size=6, batch_transform=mixed), 1, progress=False)
        return weights(trained)

    first, *others = run_ranks(3, work, timeout=5.0)
    assert all(each == first for each in others)


def test_a_part_of_one_sample_that_batch_norm_refuses_is_explained():
    models = networks(4, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), OwnNorm(8), nn.Linear(8, 3)))

    def work(communicator):
        trainer(models[communicator.rank], communicator).fit(samples(13), 1, progress=False)

    with pytest.raises(ValueError, match="more than one value for each channel") as refused:
        run_ranks(4, work)
    said = str(refused.value)
    assert "of the 5 samples of batch 2 rank" in said
    assert "has one alone" in said
    assert "drop_last=True, another batch size, or layers of nn.SyncBatchNorm" in said


class Shown(nn.ReLU):
    """A layer that is printed with the address of one of its parts."""

    def __init__(self):
        super().__init__()
        self.part = object()

    def extra_repr(self):
        return f"{self.part}, slope=0"


def test_layers_of_one_kind_are_alike_wherever_they_lie():
    models = networks(2, lambda: nn.Sequential(nn.Flatten(), Shown(), nn.Linear(16, 3)))
    assert repr(models[0]) != repr(models[1])

    def work(communicator):
        return trainer(models[communicator.rank], communicator).fit(samples(16), 1, progress=False)["loss"]

    first, second = run_ranks(2, work)
    assert first == second


def test_labels_and_classes_that_differ_are_named():
    changed = LABELS.copy()
    changed[7] = (changed[7] + 1) % 3

    def message(communicator, own, others, **where):
        labels, classes = own if communicator.rank == 1 else others
        part = data.ArrayDataset(IMAGES, labels, classes)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        with pytest.raises(ValueError, match="must be the same on all ranks") as refused:
            trainer(model, communicator).fit(
                samples(40) if where else part, 1, progress=False, validation=part if where else None
            )
        return str(refused.value)

    def work(communicator):
        names = ("cat", "dog", "fox")
        return [
            message(communicator, (changed, names), (LABELS, names)),
            message(communicator, (LABELS, ("cat", "fox", "dog")), (LABELS, names)),
            message(communicator, (changed, names), (LABELS, names), validation=True),
        ]

    labels, classes, tests = run_ranks(3, work)[2]
    assert "['training data']['checksum of the labels'] must be" in labels
    assert "rank 0 has " in labels
    assert "and rank 1 has " in labels
    assert "['training data']['classes'][1] must be the same on all ranks, but rank 0 has 'dog' and rank 1" in classes
    assert "['validation data']['checksum of the labels'] must be" in tests


# evaluate


def test_in_the_middle_of_an_epoch_the_statistics_of_all_ranks_are_measured():
    models, images = networks(2, small), IMAGES.copy()
    images[20:] //= 4  # rank 1 sees dark ones

    class Measure(Callback):
        def on_step_end(self, trainer, record):
            self.losses = [trainer.evaluate(samples(40))["loss"]]
            trainer._ranks.average_statistics()
            self.losses.append(trainer.evaluate(samples(40))["loss"])

    def work(communicator):
        measure = Measure()
        trained = trainer(models[communicator.rank], communicator, callbacks=[measure])
        trained.fit(data.DataLoader(data.ArrayDataset(images, LABELS), 40, workers=1), 1, progress=False)
        return measure.losses

    (before, after), other = run_ranks(2, work)
    assert before == pytest.approx(after, rel=1e-6)
    assert other == [before, after]


def test_a_shuffled_loader_is_measured_in_the_order_of_rank_0():
    """Each rank has made it with a seed of its own; every sample counts once."""
    alone, *models = networks(3, small)
    expected = trainer(alone, None).evaluate(samples(40))
    loaders = []
    for rank in range(2):
        mc.seed(rank)
        loaders.append(samples(40, shuffle=True))
    loaders[1].epoch = 3

    def work(communicator):
        trained, loader = trainer(models[communicator.rank], communicator), loaders[communicator.rank]
        return [trained.evaluate(loader) for _ in range(2)]

    for measured in run_ranks(2, work):
        for each in measured:
            assert each == pytest.approx(expected, rel=1e-6)


def test_data_that_differ_are_not_measured():
    models = networks(2, small)

    def work(communicator):
        trained = trainer(models[communicator.rank], communicator)
        with pytest.raises(
            ValueError, match=r"evaluate: \['data'\]\['samples'\] must be the same .* 40 and rank 1 has 30"
        ):
            trained.evaluate(samples(40 - 10 * communicator.rank))
        with pytest.raises(ValueError, match=r"evaluate: \['data'\]\['batch_size'\] must be the same"):
            trained.evaluate(samples(40).dataset, batch_size=8 + communicator.rank)

    run_ranks(2, work)
