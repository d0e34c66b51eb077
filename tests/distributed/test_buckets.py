"""Gradients summed over ranks during the backward pass: what is sent when, and what comes of it."""

import json
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ranks import needs_mpi, run
from threads import run_ranks

import minicnn as mc
from minicnn import autograd, nn
from minicnn import functional as F
from minicnn.distributed.communicator import Alone, Request
from minicnn.distributed.gradients import Bucket, GradientBuckets, in_buckets


class Slow(Alone):
    """One rank whose sums need `looks` looks until they are done; `log` has what happens, in order."""

    def __init__(self, looks):
        super().__init__(timeout=5)
        self.looks, self.log = looks, []

    def start_all_reduce(self, array, apart=False):
        number, left = sum(what == "start" for what, _ in self.log), iter(range(self.looks))
        self.log.append(("start", number))

        def done():
            if next(left, None) is None:
                self.log.append(("done", number))
                return True
            return False

        return Request(done, self.timeout, "a sum")


def network(layers=4):
    return nn.Sequential(*(nn.Linear(8, 8) for _ in range(layers)))


def backward(model, buckets, x=None):
    model.zero_grad()
    with buckets.summing():
        model(mc.tensor(np.ones((2, 8), np.float32) if x is None else x)).sum().backward(np.float32(0.5))


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


# What the backward pass tells


def test_a_leaf_is_shown_when_its_last_part_is_added_and_before_the_layers_behind():
    w, v, x = (mc.tensor(np.array([value]), requires_grad=True) for value in (2.0, 3.0, 5.0))
    events = []
    loss = (x * v * w * w).sum()  # w is read twice, before and behind
    with autograd.observe(
        after=lambda function, dxs: events.append(function.name),
        complete=lambda leaf, dx: events.append((float(leaf.data[0]), float(dx[0]))),
    ):
        loss.backward()
    assert events == ["Sum", "Multiply", "Multiply", (2.0, 60.0), "Multiply", (5.0, 12.0), (3.0, 20.0)]
    assert [float(leaf.grad[0]) for leaf in (w, x, v)] == [60.0, 12.0, 20.0]


def test_a_leaf_without_a_gradient_is_not_shown():
    a, b = (mc.tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2))
    shown = []
    with autograd.observe(complete=lambda leaf, dx: shown.append(leaf)):
        (a * b.detach()).sum().backward()
    assert shown == [a]


def test_a_pass_in_another_thread_is_not_shown():
    a = mc.tensor(np.ones(3, np.float32), requires_grad=True)
    shown = []
    with autograd.observe(
        after=lambda function, dxs: shown.append(function), complete=lambda *given: shown.append(given)
    ):
        thread = threading.Thread(target=(a * a).sum().backward)
        thread.start()
        thread.join()
    assert (a.grad == 2).all()
    assert shown == []


# Buckets


def test_large_arrays_have_buckets_of_their_own_and_small_ones_wait_for_each_other():
    small, large, double = np.zeros(10, np.float32), np.zeros(100, np.float32), np.zeros(10)
    ws = [large, small, double, small, large, small, small]
    assert in_buckets(range(7), ws, 80) == [[0], [2], [1, 3], [4], [5, 6]]
    assert in_buckets([6, 4, 5, 2, 0], ws, 80) == [[4], [6, 5], [2], [0]]
    assert in_buckets(range(7), ws, 10**6) == [[0, 1, 3, 4, 5, 6], [2]]


def test_buckets_are_sent_while_the_pass_goes_on_and_in_its_order():
    model, ranks = network(), Slow(looks=2)
    buckets = GradientBuckets(list(model.parameters()), ranks, bucket_bytes=8 * 8 * 4 + 8 * 4)  # a layer
    backward(model, buckets)
    assert [what for what, _ in ranks.log[:5]] == ["start"] * 5  # the first pass only shows the order
    for looks, done_before_the_last in ((0, 3), (2, 1)):
        ranks.looks, ranks.log = looks, []
        backward(model, buckets)
        events = [event for event in ranks.log if event[0] == "start" or event[1] < 4]
        assert [number for what, number in events if what == "start"] == [0, 1, 2, 3, 4]
        last = events.index(("start", 3))
        assert sum(what == "done" for what, _ in events[:last]) >= done_before_the_last
    assert [set(bucket.places) for bucket in buckets._buckets] == [{6, 7}, {4, 5}, {2, 3}, {0, 1}]


def test_the_trace_says_when_each_bucket_was_sent():
    model, ranks = network(), Slow(looks=1)
    buckets = GradientBuckets(list(model.parameters()), ranks, bucket_bytes=100)
    backward(model, buckets)
    backward(model, buckets)
    trace = buckets.trace
    sent = trace.buckets[:-1]  # the last is which Parameters were reached
    assert [each.bytes for each in sent].count(256) == 4
    assert sum(each.bytes for each in sent) == 4 * (256 + 32)
    assert sent[0].started < sent[-1].started < trace.pass_ended <= trace.sums_ended
    assert all(each.started <= each.done <= trace.sums_ended for each in trace.buckets)
    assert sent[0].done < trace.pass_ended
    assert trace.waited == trace.sums_ended - trace.pass_ended >= 0
    assert trace.bytes == 4 * (256 + 32) + 8 * 4


def test_one_rank_keeps_its_gradients_bit_for_bit():
    model = network()
    model(mc.tensor(np.ones((2, 8), np.float32))).sum().backward()
    expected = [p.grad.copy() for p in model.parameters()]
    for bucket_bytes in (1, 300, 10**6):
        buckets = GradientBuckets(list(model.parameters()), Alone(5), bucket_bytes)
        for _ in range(3):
            model.zero_grad()
            with buckets.summing():
                model(mc.tensor(np.ones((2, 8), np.float32))).sum().backward()
            assert all((p.grad == dw).all() for p, dw in zip(model.parameters(), expected, strict=True))


def test_frozen_unused_and_unfrozen_parameters():
    model, unused = network(2), nn.Linear(8, 8)
    parameters = [*model.parameters(), *unused.parameters()]
    buckets = GradientBuckets(parameters, Alone(5))
    for frozen in (False, True, False):
        parameters[1].requires_grad = not frozen
        backward(model, buckets)
        assert [p.grad is None for p in parameters] == [False, frozen, False, False, True, True]


def test_gradients_of_earlier_batches_count():
    model = network(2)
    x = np.arange(16, dtype=np.float32).reshape(2, 8)
    backward(model, GradientBuckets(list(model.parameters()), Alone(5)), x)
    once = [p.grad.copy() for p in model.parameters()]
    for bucket_bytes in (1, 10**6):
        buckets = GradientBuckets(list(model.parameters()), Alone(5), bucket_bytes)
        for _ in range(2):
            model.zero_grad()
            model(mc.tensor(x)).sum().backward(np.float32(0.5))
            with buckets.summing():
                model(mc.tensor(x)).sum().backward(np.float32(0.5))
            assert all(np.allclose(p.grad, 2 * dw) for p, dw in zip(model.parameters(), once, strict=True))


def test_a_gradient_without_axes_that_has_a_bucket_of_its_own_stays_an_array():
    w, dw, before = nn.Parameter(np.array(1.0, np.float32)), np.array(2.0, np.float32), np.array(0.5, np.float32)
    bucket = Bucket([0], [w])
    bucket.put(0, dw, before, w.data)
    assert isinstance(bucket.content, np.ndarray)
    assert (bucket.content.shape, bucket.content.dtype, bucket.content) == ((), np.float32, 2.5)


# Real ranks

JOB = """
import json
from minicnn import nn
from minicnn import functional as F
from minicnn.distributed.gradients import GradientBuckets

class Net(nn.Module):
    "One layer is used twice, one never, one on rank 1 alone."
    def __init__(self):
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.unused, self.sometimes = nn.Linear(5, 3), nn.Linear(5, 3)
    def forward(self, x, sometimes):
        x = F.tanh(self.shared(F.tanh(self.shared(self.first(x)))))
        return self.last(x) + self.sometimes(x) if sometimes else self.last(x)

ranks = distributed.init(timeout=20)
mc.seed(0)
model = Net().to(dtype="float64")
rng = np.random.default_rng(0)
x, labels = rng.standard_normal((8, 6)), rng.integers(0, 3, 8)
ends = [0, 3, 6, 8] if ranks.size == 3 else [0, 8]   # uneven parts
def loss(rank):
    part = slice(ends[rank], ends[rank + 1])
    return F.cross_entropy(model(mc.tensor(x[part]), rank == 1), labels[part]), np.array((part.stop - part.start) / 8)
parameters = dict(model.named_parameters())
model.zero_grad()
for rank in range(ranks.size):       # by the definition, on every rank
    value, weight = loss(rank)
    value.backward(weight)
expected = {name: p.grad for name, p in parameters.items()}
worst = 0.0
for bucket_bytes in (1, 200, 10**6):
    buckets = GradientBuckets(list(parameters.values()), ranks, bucket_bytes)
    for step in range(3):
        model.zero_grad()
        value, weight = loss(ranks.rank)
        with buckets.summing():
            value.backward(weight)
        assert {n for n, p in parameters.items() if p.grad is None} == {n for n, dw in expected.items() if dw is None}
        worst = max([worst, *(np.abs(p.grad - expected[n]).max() for n, p in parameters.items() if p.grad is not None)])
bits = b"".join(p.grad.tobytes() for p in parameters.values() if p.grad is not None)
everywhere = ranks.gather(bits)
unused = [n for n, dw in expected.items() if dw is None]
if ranks.is_main:
    print(json.dumps([worst, len(set(everywhere)), unused]))
"""


@needs_mpi
def test_the_sums_of_three_ranks_are_the_gradients_of_the_whole_batch(tmp_path):
    job = run(3, JOB, tmp_path)
    assert job.status == 0, job.errors
    worst, different, unused = json.loads(job.output)
    assert worst < 1e-15
    assert different == 1
    assert unused == ["unused.weight", "unused.bias"]


UNLIKE = """
import json
from minicnn import nn
from minicnn.distributed.gradients import GradientBuckets

ranks = distributed.init(timeout=10)
one = ranks.rank == 1

def message(outputs=3, dtype="float32", frozen=False, layers=1):
    model = nn.Sequential(*(nn.Linear(4, outputs if layer == 0 else 4) for layer in range(layers))).to(dtype=dtype)
    model[0].bias.requires_grad = not frozen
    buckets = GradientBuckets(list(model.parameters()), ranks)
    try:
        with buckets.summing():
            model[0](mc.tensor(np.ones((2, 4), dtype))).sum().backward()
    except ValueError as error:
        return str(error)

said = [message(5 if one else 3), message(dtype="float64" if one else "float32"), message(frozen=one),
        message(layers=2 if one else 1), message()]
everywhere = ranks.gather(said)
if ranks.is_main:
    print(json.dumps(everywhere))
"""


@needs_mpi
def test_parameters_that_are_not_alike_are_named_before_anything_is_summed(tmp_path):
    job = run(2, UNLIKE, tmp_path)
    assert job.status == 0, job.errors
    said, on_rank_1 = json.loads(job.output)
    assert said == on_rank_1
    places = ["[0]", "[0]", "[1]", ""]
    firsts = ["'float32 (4, 3)'", "'float32 (4, 3)'", "'float32 (3,)'", "['float32 (4, 3)', 'float32 (3,)']"]
    seconds = [
        "'float32 (4, 5)'",
        "'float64 (4, 3)'",
        "'float32 (3,) frozen'",
        "['float32 (4, 3)', 'float32 (3,)', 'float32 (4, 4)', 'float32 (4,)']",
    ]
    for text, place, first, second in zip(said, places, firsts, seconds, strict=False):
        parts = f"the parameters{place} must be the same on all ranks, but rank 0 has {first} and rank 1 has {second}"
        assert parts in text
    assert said[4] is None


class Sometimes(nn.Module):
    """A layer that a rank may leave out, behind one that sums over the ranks on its way back."""

    def __init__(self, communicator):
        super().__init__()
        self.first, self.norm = nn.Linear(6, 5), nn.SyncBatchNorm(5, communicator)
        self.sometimes, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x, some):
        x = self.norm(self.first(x))
        return self.last(x + self.sometimes(x) if some else x)


def sums_without_a_layer(communicator, bucket_bytes):
    """The gradients of a second pass, in which only rank 0 has `sometimes`."""
    model, rng = Sometimes(communicator), np.random.default_rng(7)
    for parameter in model.parameters():
        parameter.assign(rng.standard_normal(parameter.shape).astype(np.float32))
    buckets = GradientBuckets(list(model.parameters()), communicator, bucket_bytes)
    x = np.random.default_rng(communicator.rank).standard_normal((4, 6)).astype(np.float32)
    for some in (True, communicator.rank == 0):
        model.zero_grad()
        loss = F.cross_entropy(model(mc.tensor(x), some), np.array([0, 1, 2, 0]))
        with buckets.summing():
            loss.backward(np.float32(0.5))
    return [parameter.grad.tolist() for parameter in model.parameters()]


LEFT_OUT = f"""
import json
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_buckets import sums_without_a_layer
ranks = distributed.init(timeout=10)
everywhere = ranks.gather([sums_without_a_layer(ranks, size) for size in (60, 10**6)])
if ranks.is_main:
    print(json.dumps(everywhere))
"""


def on_threads(tmp_path):
    return [run_ranks(2, partial(sums_without_a_layer, bucket_bytes=size), timeout=5) for size in (60, 10**6)]


def on_mpi(tmp_path):
    job = run(2, LEFT_OUT, tmp_path)
    assert job.status == 0, job.errors
    return zip(*json.loads(job.output), strict=True)


@pytest.mark.parametrize("on_ranks", [on_threads, pytest.param(on_mpi, marks=needs_mpi)])
def test_a_layer_that_one_rank_leaves_out_mixes_no_sums_of_other_layers(on_ranks, tmp_path):
    """There the bucket of that layer leaves later than the sums of SyncBatchNorm, on the other rank before."""
    (small, small_too), (whole, whole_too) = on_ranks(tmp_path)
    assert small == small_too
    assert whole == whole_too
    for dw, expected in zip(small, whole, strict=True):
        np.testing.assert_allclose(dw, expected, rtol=1e-5, atol=1e-6)
