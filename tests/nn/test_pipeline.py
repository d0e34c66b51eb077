"""A ValueError in a network draws the layers up to the one that failed; what is well costs and changes nothing."""

import threading
import time

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn
from minicnn.nn import module, pipeline

pytestmark = pytest.mark.usefixtures("plain_kernels")


@pytest.fixture
def plain_kernels():
    with mc.kernels.use("reference"):
        yield


def zeros(*shape):
    return mc.tensor(np.zeros(shape, np.float32))


def complaint(model, *inputs):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole text is compared below
        model(*inputs)
    return str(caught.value)


class Net(nn.Module):
    """Modules inside Modules, with operations between them."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 5, activation="relu"), nn.BatchNorm2d(6), nn.MaxPool2d(2))
        self.head = nn.Linear(400, 10)

    def forward(self, x):
        x = F.relu(self.features(x))
        return self.head(x.reshape(len(x), -1))


NET = """Linear expected an array of shape (N, 400), got (8, 864)

  input                    (8, 28, 28, 1)
  features.0  Conv2d       (8, 24, 24, 6)
  features.1  BatchNorm2d  (8, 24, 24, 6)
  features.2  MaxPool2d    (8, 12, 12, 6)
              relu         (8, 12, 12, 6)
              reshape      (8, 864)
> head        Linear       got (8, 864)"""


def test_the_layers_so_far_are_drawn_behind_the_sentence():
    assert complaint(Net(), zeros(8, 28, 28, 1)) == NET


def test_what_a_network_is_made_for_stands_before_the_drawing():
    text = complaint(models.lenet5(), zeros(2, 32, 32, 1))
    sentence, drawn = text.split("\n\n")
    assert sentence == (
        "Linear expected an array of shape (N, 400), got (2, 576) (this network is made for inputs (N, 28, 28, 1), "
        "got (2, 32, 32, 1))"
    )
    assert [line.split()[0] for line in drawn.splitlines()] == [
        "input", "conv2d", "average_pooling2d", "conv2d_1", "average_pooling2d_1", "flatten", ">",
    ]  # fmt: skip
    assert drawn.splitlines()[-1].split() == [">", "dense", "Linear", "got", "(2,", "576)"]


def test_a_forward_that_fails_between_its_layers_is_marked_itself():
    class Reshaping(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Inner()

        def forward(self, x):
            return self.block(x)

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.conv(x).reshape(3, 7)

    text = complaint(Reshaping(), zeros(1, 8, 8, 1))
    assert text.startswith("cannot reshape array of size 72 into shape (3,7)\n\n")
    assert text.splitlines()[-2:] == [
        "  block.conv  Conv2d  (1, 6, 6, 2)",
        "> block       Inner   its forward fails here",
    ]


def test_a_block_whose_own_operations_change_the_shape_has_a_row():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return mc.Tensor(self.relu(x).data[:, ::2])  # not by a Function, so only the block itself can tell

    text = complaint(nn.Sequential(Half(), nn.Flatten(), nn.Linear(5, 1)), zeros(1, 8, 8, 1))
    assert "  0       Half     (1, 4, 8, 1)\n" in text


def test_long_networks_are_shortened_and_fit_a_terminal():
    lines = complaint(models.resnet20(), zeros(1, 4, 4, 3)).splitlines()[2:]
    assert len(lines) == 1 + pipeline.FIRST + 1 + pipeline.LAST + 1
    assert max(map(len, lines)) <= 80
    # Three layers before the blocks; two stages of three blocks of twice convolution, normalisation and ReLU; the
    # shortcuts that lead into two stages; and the third stage's first convolution.
    before = 3 + 2 * 3 * 6 + 2 + 1
    assert lines[1 + pipeline.FIRST].split()[1] == str(before - pipeline.FIRST - pipeline.LAST)
    assert lines[-1].split() == [">", "layer3.0.bn1", "BatchNorm2d", "got", "(1,", "1,", "1,", "64)"]


def test_deep_names_keep_their_ends():
    model = nn.Linear(3, 1)
    for _ in range(20):
        model = nn.Sequential({"quite_a_long_name": model})
    lines = complaint(nn.Sequential(nn.Flatten(), model), zeros(2, 5)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "_name.quite_a_long_name  Linear " in lines[-1]


def test_a_layer_alone_and_other_errors_say_what_they_said():
    assert complaint(nn.Linear(3, 4), zeros(2, 5)) == "Linear expected an array of shape (N, 3), got (2, 5)"

    class Own(ValueError):
        pass

    class Refusing(nn.Module):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def forward(self, x):
            raise self.error

    for error in (Own("mine"), ValueError("two", "arguments"), TypeError("a type")):
        with pytest.raises(type(error)) as caught:
            nn.Sequential(nn.ReLU(), Refusing(error))(zeros(1, 2))
        assert caught.value is error
        assert caught.value.args in (("mine",), ("two", "arguments"), ("a type",))


def test_drawing_changes_nothing_and_nobody_who_watches_sees_it():
    norm, dropout, seen = nn.BatchNorm2d(2), nn.Dropout(0.5), []
    model = nn.Sequential(norm, dropout, nn.Flatten(), nn.Linear(5, 1))
    with nn.observe(lambda module, inputs, output: seen.append(type(module).__name__)):
        complaint(model, zeros(3, 2, 2, 2))
        assert seen == ["BatchNorm2d", "Dropout", "Flatten"]
        nn.ReLU()(zeros(1))
    assert seen[3:] == ["ReLU"]
    assert (int(norm.num_batches_tracked), int(dropout.counter)) == (1, 1)  # by the pass itself
    assert model[3].weight.grad is None


def test_the_calls_of_now_and_of_an_error():
    class Asking(nn.Module):
        def forward(self, x):
            found.extend(pipeline.current_calls())
            raise ValueError("stop")

    found = []
    inner, x = Asking(), zeros(1, 2)
    model = nn.Sequential(nn.ReLU(), inner)
    with pytest.raises(ValueError, match="stop") as caught:
        model(x)
    assert [module for module, _ in found[:2]] == [inner, model]
    assert found[1][1] == (x,)
    assert [module for module, _ in pipeline.failed_calls(caught.value)] == [inner, model]


def test_errors_of_two_threads_at_a_time_leave_nobody_watching():
    class Slow(nn.Module):
        def forward(self, x):
            time.sleep(0.1)
            return x

    def fail(delay):
        time.sleep(delay)
        said.append(complaint(nn.Sequential(Slow(), nn.Linear(3, 2)), zeros(1, 4)))

    said = []
    threads = [threading.Thread(target=fail, args=(delay,)) for delay in (0.0, 0.05)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 2
    assert not module._observers
