"""Class weights and label smoothing of cross_entropy: against loops over its definition, PyTorch, and differences."""

import math

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F

N, K = 6, 4
rng = np.random.default_rng(0)
LOGITS = 2 * rng.standard_normal((N, K))
CLASSES = np.array([3, 0, 0, 2, 1, 3])
ROWS = rng.dirichlet(np.ones(K), N)
WEIGHT = np.array([0.5, 2.0, 0.0, 3.0])
LABELS = pytest.mark.parametrize("labels", [CLASSES, ROWS], ids=["classes", "rows"])
OPTIONS = pytest.mark.parametrize(
    ("weight", "smoothing"), [(None, 0.0), (None, 0.1), (WEIGHT, 0.0), (WEIGHT, 0.3), (None, 1.0), (WEIGHT, 1.0)]
)


def by_loops(logits, labels, weight, smoothing):
    """A mean of what each class of each sample costs, weighted with the labels' weights if they are whole numbers."""
    cost, divisor = 0.0, 0.0
    for n in range(N):
        log_sum = math.log(sum(math.exp(v) for v in logits[n]))
        divisor += 1.0 if weight is None or labels.ndim == 2 else weight[labels[n]]
        for k in range(K):
            y = float(labels[n] == k) if labels.ndim == 1 else labels[n, k]
            t = (1 - smoothing) * y + smoothing / K
            cost += (1.0 if weight is None else weight[k]) * t * (log_sum - logits[n, k])
    return cost / divisor


def differences(f, x, h=1e-6):
    """The gradient of f in x, one element after another."""
    dx = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        dx[i] = (f(up) - f(down)) / (2 * h)
    return dx


@LABELS
@OPTIONS
def test_both_directions_are_the_definition(every_room, labels, weight, smoothing):
    logits = mc.tensor(LOGITS, requires_grad=True)
    loss = F.cross_entropy(logits, labels, weight, smoothing)
    assert loss.item() == pytest.approx(by_loops(LOGITS, labels, weight, smoothing), rel=1e-12)
    (3 * loss).backward()
    expected = differences(lambda x: 3 * by_loops(x, labels, weight, smoothing), LOGITS)
    np.testing.assert_allclose(logits.grad, expected, atol=1e-8)
    assert mc.gradcheck(lambda x: F.cross_entropy(x, labels, weight, smoothing) * 3, [LOGITS])


@LABELS
@OPTIONS
@pytest.mark.parametrize(("dtype", "scale", "tolerance"), [(np.float32, 1, 1e-6), (np.float64, 1, 1e-12),
                                                           (np.float32, 500, 1e-6)])  # fmt: skip
def test_values_and_gradients_are_pytorchs(every_room, labels, weight, smoothing, dtype, scale, tolerance):
    torch = pytest.importorskip("torch")
    ours = mc.tensor((scale * LOGITS).astype(dtype), requires_grad=True)
    theirs = torch.tensor((scale * LOGITS).astype(dtype), requires_grad=True)
    targets = torch.tensor(labels if labels.ndim == 1 else labels.astype(dtype))
    loss = F.cross_entropy(ours, labels, weight, smoothing)
    expected = torch.nn.functional.cross_entropy(
        theirs, targets, None if weight is None else torch.tensor(weight.astype(dtype)), label_smoothing=smoothing
    )
    loss.backward()
    expected.backward()
    assert loss.dtype == ours.grad.dtype == dtype
    # A few roundings of numbers of about 1 (of the loss: of its own size), each half a unit in the last place.
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), atol=tolerance)


def test_weights_may_be_a_list_a_tensor_or_whole_numbers():
    logits = mc.tensor(LOGITS.astype(np.float32))
    expected = F.cross_entropy(logits, CLASSES, WEIGHT * 2).item()
    for weight in ((WEIGHT * 2).tolist(), mc.tensor(WEIGHT * 2), (WEIGHT * 2).astype(np.uint8)):
        loss = F.cross_entropy(logits, CLASSES, weight)
        assert loss.dtype == np.float32
        assert loss.item() == expected


def test_balanced_weights_give_a_rare_class_the_same_say():
    """As the docstring has them: the mean over the classes of each class's mean."""
    labels = CLASSES
    loss = F.cross_entropy(mc.tensor(LOGITS), labels, N / (K * np.bincount(labels, minlength=K)))
    each = [F.cross_entropy(mc.tensor(LOGITS[labels == k]), labels[labels == k]).item() for k in range(K)]
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-12)


@pytest.mark.parametrize(
    ("weight", "smoothing", "error", "message"),
    [
        (None, -0.1, ValueError, "label_smoothing from 0 to 1, got -0.1"),
        (None, 1.1, ValueError, "label_smoothing from 0 to 1, got 1.1"),
        (None, math.nan, ValueError, "label_smoothing to be finite, got nan"),
        (None, "0.1", TypeError, "label_smoothing to be a number, got '0.1'"),
        (None, True, TypeError, "label_smoothing to be a number, got True"),
        (2.0, 0, TypeError, "weight to be an array of 4 numbers, got float"),
        (["a"] * 4, 0, TypeError, "weight to be an array of 4 numbers, got <U1"),
        ([1, 1, 1], 0, ValueError, r"weight \(4,\), a number for each class, got shape \(3,\)"),
        ([[1, 1, 1, 1]], 0, ValueError, r"weight \(4,\), a number for each class, got shape \(1, 4\)"),
        ([1, 1, 1, -1], 0, ValueError, "weights >= 0 and finite, got numbers from -1 to 1"),
        ([1, 1, 1, math.nan], 0, ValueError, "weights >= 0 and finite, got numbers from nan"),
        ([1, 1, 1, math.inf], 0, ValueError, "weights >= 0 and finite, got numbers from 1.0 to inf"),
        ([0, 0, 0, 1], 0, ValueError, "a weight above 0 for one label of the batch at least, got 0 for all 2"),
    ],
)
def test_nonsense_is_one_sentence(weight, smoothing, error, message):
    with pytest.raises(error, match=f"^cross_entropy expected {message}"):
        F.cross_entropy(mc.tensor(LOGITS[:2]), np.array([0, 1]), weight, smoothing)


@pytest.mark.filterwarnings("error")
def test_a_class_that_cannot_be_costs_nothing_where_nobody_asks_for_it(every_room):
    """0 * log 0 is 0: a logit of minus infinity rules a class out, as a mask does."""
    array = np.array([[0.0, -np.inf, 1.0], [2.0, 0.0, 1.0]])
    e, losses = math.e, {}
    for weight in (None, np.array([2.0, 1.0, 3.0])):
        logits = mc.tensor(array, requires_grad=True)
        loss = F.cross_entropy(logits, np.array([2, 1]), weight)
        loss.backward()
        costs = [math.log(1 + e) - 1, math.log(e * e + 1 + e)]
        of_sample = [1, 1] if weight is None else [3, 1]
        losses[weight is None] = np.dot(costs, of_sample) / sum(of_sample)
        assert loss.item() == pytest.approx(losses[weight is None], rel=1e-12)
        share = of_sample[0] / sum(of_sample)
        np.testing.assert_allclose(logits.grad[0], np.array([1, 0, -1]) / (1 + e) * share, rtol=1e-12)
    rows = np.array([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    assert math.isfinite(F.cross_entropy(mc.tensor(array), rows).item())
    assert F.cross_entropy(mc.tensor(array), rows[::-1]).item() == math.inf
