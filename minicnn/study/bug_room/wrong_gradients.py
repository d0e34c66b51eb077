"""Six bugs of a backward pass. Each replacement is the engine's own function with one line of it wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn as mc

from ... import functional as F
from ... import kernels
from ...kernels.reference import loss, pool2d
from ...ops import arithmetic, conv, norm, pool
from ...ops import loss as loss_ops
from ...ops.activation import activation_backward
from .bug import Bug, normal

Array = Any


# Cross-entropy's gradient without 1/N


def _cross_entropy_backward(self: Any, dy: Array) -> tuple[Array, ...]:
    (p,) = self.saved
    N = len(p)
    return (kernels.room(p).cross_entropy_backward(dy * N, p, self.target),)


def _check_cross_entropy() -> None:
    """The loss against differences, for a batch of more than one."""
    labels = np.array([0, 2, 1, 2, 0])
    logits = normal(5, 3)
    mc.gradcheck(lambda logits: F.cross_entropy(logits, labels), [logits])


CROSS_ENTROPY = Bug(
    title="cross-entropy's gradient without 1/N",
    complaint="A learning rate that is fine with batches of 8 explodes with batches of 128. With a batch of one image, "
    "computed by hand, every number is right.",
    hints=(
        "Something depends on how many samples are in a batch. Forward alone is right.",
        "Check the end of the network: the loss by itself, for a batch of more than one sample.",
        "mc.gradcheck(lambda logits: F.cross_entropy(logits, labels), [logits]), and look at the ratio.",
    ),
    explanation="The loss is the mean over N samples, so its gradient has a 1/N. Without it, gradients grow with the "
    "batch, and so does every step: a small learning rate hides it.",
    owner=loss_ops.CrossEntropy,
    name="backward",
    replacement=_cross_entropy_backward,
    wrong="cross_entropy_backward(dy * N, p, self.target)",
    engine=loss.cross_entropy_backward,
    right="return difference * (dloss / len(p))",
    check=_check_cross_entropy,
)


# Max pooling whose overlapping windows overwrite each other


def _max_pool_backward(self: Any, dy: Array) -> tuple[Array, ...]:
    index, shape = self.saved
    (_, KW), (SH, SW), ((top, _), (left, _)) = self.windows
    n, oh, ow, c = np.indices(index.shape)
    dx = np.zeros(shape, dy.dtype)
    dx[n, oh * SH + index // KW - top, ow * SW + index % KW - left, c] = dy
    return (dx,)


def _check_overlap() -> None:
    """Windows of 3x3 every 2 cells: neighbours share a row or a column."""
    mc.gradcheck(lambda x: F.max_pool2d(x, 3, stride=2), [normal(1, 7, 7, 1)])


OVERLAPPING_WINDOWS = Bug(
    title="`=` for `+=` where the windows of max pooling overlap",
    complaint="AlexNet, with its pooling of 3x3 cells every 2, learns more slowly than its authors say. LeNet-5, with "
    "2x2 every 2, learns as it should.",
    hints=(
        "Forward is right. Which gradients differ between the two networks?",
        "Check a pooling by itself: with windows that touch, and with windows that overlap.",
        "mc.gradcheck(lambda x: F.max_pool2d(x, 3, stride=2), [x]): which cells are wrong, and how many windows does "
        "each of them win?",
    ),
    explanation="A cell that is the largest of several windows gets the gradients of all of them, added up. In NumPy "
    "even `dx[index] += dy` counts an index once that comes twice: np.add.at counts it twice. Windows that only touch "
    "hide it.",
    owner=pool.MaxPool2d,
    name="backward",
    replacement=_max_pool_backward,
    wrong="dx[n, oh * SH + index // KW - top, ow * SW + index % KW - left, c] = dy",
    engine=pool2d.max_pool2d_backward,
    right="dpadded[:, rows, columns] += np.where(index == k, dy, 0)",
    check=_check_overlap,
)


# A convolution's gradient in its input, with the kernel as forward uses it


def _conv2d_backward(self: Any, dy: Array) -> tuple[Array | None, ...]:
    x, w, y = self.saved
    room = kernels.room(dy)
    dy = activation_backward(dy, y, self.activation)
    wants_x, wants_w, *wants_b = self.needs_gradient
    dw = room.conv2d_backward_weight(dy, x, w.shape, *self.geometry) if wants_w else None
    dx = room.conv2d_backward_input(dy, w[::-1, ::-1], x.shape, *self.geometry) if wants_x else None
    db = [room.bias_backward(dy) if wanted else None for wanted in wants_b]
    return (dx, dw, *db)


def _check_kernel() -> None:
    """A convolution in its input and its weight."""
    x, w = normal(1, 5, 5, 1), normal(3, 3, 1, 1)
    mc.gradcheck(lambda x, w: F.conv2d(x, w), [x, w])


KERNEL_NOT_TURNED = Bug(
    title="a convolution's gradient in its input takes the kernel unturned",
    complaint="A network with one convolution learns well. With a second one below it, that one hardly learns, and "
    "with a third it is worse. Blurring filters, which look the same from all sides, do no harm.",
    hints=(
        "The last convolution gets the right gradients, those before it get wrong ones.",
        "A convolution has three gradients: in weight, bias and input. Which of them does only an earlier layer need?",
        "mc.gradcheck(lambda x, w: F.conv2d(x, w), [x, w]): w is right. Then try a w that is symmetric.",
    ),
    explanation="Forward slides the kernel as it is: y[i] = sum of x[i + k] * w[k]. So dx[j] collects dy[j - k] * "
    "w[k]: the other way round. The engine's kernel does that by itself, since it puts each product back to the cell "
    "from which it came; whoever writes dx as a convolution of dy must turn w by 180 degrees, once. Symmetric filters "
    "hide it, and so does a network of one convolution, whose dx nobody needs.",
    owner=conv.Conv2d,
    name="backward",
    replacement=_conv2d_backward,
    wrong="room.conv2d_backward_input(dy, w[::-1, ::-1], x.shape, *self.geometry)",
    engine=conv.Conv2d.backward,
    right="dx = room.conv2d_backward_input(dy, w, x_shape, *self.geometry) if wants_x else None",
    check=_check_kernel,
)


# Broadcasting that is not summed back


def _unbroadcast(dy: Array, shape: tuple[int, ...]) -> Array:
    if dy.shape == shape:
        return dy
    in_front = dy.ndim - len(shape)
    dy = dy[(0,) * in_front]
    return dy[tuple(slice(0, n) for n in shape)].copy()


def _check_broadcasting() -> None:
    """A row that is added to every row of a matrix."""
    mc.gradcheck(lambda a, row: a + row, [normal(4, 3), normal(3)])


BROADCASTING = Bug(
    title="broadcasting is not summed back",
    complaint="My own layer computes x * scale + shift, with one scale and one shift for each channel. Both learn as "
    "if they saw one sample of each batch; the layers that the engine brings along are fine.",
    hints=(
        "scale and shift have fewer elements than x: what does `+` do with them?",
        "Check the operators with operands of different shapes, like (4, 3) and (3,).",
        "mc.gradcheck(lambda a, row: a + row, [a, row]): what is the gradient of something that was copied?",
    ),
    explanation="Broadcasting copies the small operand to many places; the gradient of a copy is the sum over the "
    "places. Whoever forgets it gets a gradient of the wrong shape, and whoever cuts that to the right shape gets the "
    "gradient of the first copy alone. Operands of one shape hide it.",
    owner=arithmetic,
    name="unbroadcast",
    replacement=_unbroadcast,
    wrong="dy = dy[(0,) * in_front]",
    engine=arithmetic.unbroadcast,
    right="return summed(dy, tuple(range(in_front)) + stretched, keepdims=True).reshape(shape)",
    check=_check_broadcasting,
)


# Batch normalisation whose backward takes mean and variance for constants


def _batch_norm_backward(self: Any, dy: Array) -> tuple[Array, ...]:
    x, gamma, beta, y = self.saved
    kernel = kernels.room(dy).batch_norm_inference_backward
    return norm.batch_norm_gradients(kernel, dy, y, (x, gamma, beta, self.mean, self.var, self.eps), self.activation)


def _check_batch_statistics() -> None:
    """Batch normalisation in training, in x, gamma and beta."""
    running = np.zeros(2), np.ones(2)

    def fn(x, gamma, beta):
        return F.batch_norm(x, gamma, beta, *running, training=True)

    mc.gradcheck(fn, [normal(6, 2), normal(2), normal(2)])


BATCH_STATISTICS = Bug(
    title="batch normalisation's backward takes mean and variance for constants",
    complaint="A network with batch normalisation is less stable than papers say: with a large learning rate it "
    "diverges. The gradients of gamma and beta are right; in evaluation everything is.",
    hints=(
        "A gradient is wrong only in training. What does batch normalisation compute only then?",
        "Check F.batch_norm with training=True by itself, in x.",
        "The right dx sums to 0 in each channel, and is at right angles to x_hat. Is that so here?",
    ),
    explanation="mean and var are computed from x, so x also acts through them: two terms more, which take out of dx "
    "its mean and its part along x_hat. In kernels/reference/batch_norm.py they are dbeta / m and "
    "x_hat * dgamma / m. Without them it is the backward of evaluation, where both are constants.",
    owner=norm.BatchNorm,
    name="backward",
    replacement=_batch_norm_backward,
    wrong="kernel = kernels.room(dy).batch_norm_inference_backward",
    engine=norm.BatchNorm.backward,
    right="kernel = kernels.room(dy).batch_norm_backward",
    check=_check_batch_statistics,
)


# Average pooling that forgets the windows over a stride's remainder


def _avg_pool_backward(self: Any, dy: Array) -> tuple[Array, ...]:
    ((_, H, W, _),) = self.saved
    SH, SW = self.windows[1]
    reached = np.zeros_like(dy)
    reached[:, : H // SH, : W // SW] = dy[:, : H // SH, : W // SW]
    dx = kernels.room(dy).avg_pool2d_backward(reached, self.saved[0], *self.windows, self.count_include_pad)
    return (dx,)


def _check_remainder() -> None:
    """Seven cells in windows of two: the last window hangs over the edge."""
    x = normal(1, 7, 7, 1)
    mc.gradcheck(lambda x: F.avg_pool2d(x, 2, ceil_mode=True), [x])


STRIDE_REMAINDER = Bug(
    title="average pooling's backward loses the remainder of a stride",
    complaint="Images of 32x32 are fine. With images of 33x33, and a pooling that keeps the last half window, the "
    "network is blind at the lower and the right edge: what stands there it never learns.",
    hints=(
        "Even sizes are right, odd ones are not, and only near two of the four edges.",
        "Check a pooling in windows of 2x2 of an image of 7x7, with ceil_mode=True.",
        "How many windows are there along 7 cells with stride 2, and how much is 7 // 2?",
    ),
    explanation="With ceil_mode or padding there can be one window more than size // stride. A loop over size // "
    "stride windows loses the last row and column of them. Sizes that the stride divides hide it.",
    owner=pool.AvgPool2d,
    name="backward",
    replacement=_avg_pool_backward,
    wrong="reached[:, : H // SH, : W // SW] = dy[:, : H // SH, : W // SW]",
    engine=pool2d.sum_pool2d_backward,
    right="OH, OW = dy.shape[1:3]",
    check=_check_remainder,
)
