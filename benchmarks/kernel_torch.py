"""What PyTorch calls the operation of each kernel, on the same arrays.

`counterparts` gives the operation in one or two memory layouts: "nchw", PyTorch's default, and "nhwc", which it calls
channels_last: there images are our very arrays, seen with other axes. All conversions happen before the clock runs, and
the results are turned back to our layout only where they are compared. Backward directions are the operators that
PyTorch's own autograd calls; two operations that it puts together from others are run by autograd from a graph that is
kept (local response normalisation and cross-entropy).

On a GPU the arrays are moved there before the clock runs, and the results come back where they are compared. Batch norm
is PyTorch's own kernel there too, and not cuDNN's.

Missing are dropout and Philox, which draw other random numbers there, and the half squared error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from conv_cases import Case
from harness import Contender
from torch.nn import functional as F
from torch_layouts import as_image, as_weight, empty_image, from_image, plain, symmetric

Tensor = torch.Tensor
aten: Any = torch.ops.aten


def counterparts(case: Case, arguments: tuple[Any, ...], device: str = "cpu") -> dict[str, Contender]:
    """{layout: the same operation in PyTorch on that device}; empty where there is none.

    Arrays that are only read are shared with PyTorch where device and layout are the same.
    """
    images = any(isinstance(a, np.ndarray) and a.ndim == 4 for a in arguments)
    for prefix, build in _BUILDERS.items():
        if case.kernel.startswith(prefix):
            there = tuple(_moved(a, device) for a in arguments)
            layouts = ("nchw", "nhwc") if images and build not in _FLAT else ("",)
            made = {layout: build(case.kernel, there, layout) for layout in layouts}
            wait = torch.cuda.synchronize if device == "cuda" else None
            return {layout: replace(each, finish=wait) for layout, each in made.items() if each is not None}
    return {}


def _moved(argument: Any, device: str) -> Any:
    """Arrays, and lists of them, as tensors on the device."""
    if isinstance(argument, list):
        return [_moved(a, device) for a in argument]
    return torch.from_numpy(argument).to(device) if isinstance(argument, np.ndarray) else argument


# Convolution and the fully connected layer


def _convolution(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    arguments = arguments[:-1] if kernel == "conv2d_forward" else arguments  # without the activation
    *arrays, stride, padding, dilation, groups, _ = arguments
    where = (stride, symmetric(padding), dilation)
    if kernel == "conv2d_forward":
        x, w, b = as_image(arrays[0], layout), as_weight(arrays[1], layout), arrays[2]
        return Contender(lambda: F.conv2d(x, w, b, *where, groups), from_image)
    dy = as_image(arrays[0], layout)
    if kernel == "conv2d_backward_input":
        x, w, mask = empty_image(arrays[2], layout, dy), as_weight(arrays[1], layout), [True, False, False]
    else:
        x, w = as_image(arrays[1], layout), as_weight(dy.new_zeros(arrays[2]), layout)
        mask = [False, True, False]
    backward = aten.convolution_backward
    call = lambda: backward(dy, x, w, None, *where, False, [0, 0], groups, mask)  # noqa: E731
    if kernel == "conv2d_backward_input":
        return Contender(call, lambda result: from_image(result[0]))
    return Contender(call, lambda result: plain(result[1].permute(2, 3, 1, 0)))  # (O, C, KH, KW) -> (KH, KW, C, O)


def _columns(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender | None:
    if layout == "nhwc":
        return None  # unfold and fold know one layout
    a, *shape, kernel_size, stride, padding, dilation = arguments
    where = {"dilation": dilation, "padding": symmetric(padding), "stride": stride}
    N, H, W, C = shape[0] if shape else a.shape
    K = kernel_size[0] * kernel_size[1]
    if kernel == "im2col":
        x = as_image(a, "nchw")
        return Contender(lambda: F.unfold(x, kernel_size, **where), lambda y: plain(
            y.reshape(N, C, K, -1).permute(0, 3, 2, 1).reshape(-1, K * C)))  # (N, C*K, L) -> (N*L, K*C)  # fmt: skip
    # (N*L, K*C) -> (N, C*K, L)
    columns = a.reshape(N, -1, K, C).permute(0, 3, 2, 1).reshape(N, C * K, -1).contiguous()
    return Contender(lambda: F.fold(columns, (H, W), kernel_size, **where), from_image)


def _linear(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    if kernel == "linear_backward_weight":
        dy, x = arguments
        return Contender(lambda: dy.t().mm(x), lambda dw: plain(dw.t()))  # (out, in) -> (in, out)
    a, w = arguments[0], arguments[1].t().contiguous()  # (in, out) -> (out, in), as torch.nn.Linear holds it
    if kernel == "linear_backward_input":
        return Contender(lambda: a.mm(w), plain)
    b = arguments[2]
    return Contender(lambda: F.linear(a, w, b), plain)


def _bias(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    (dy,) = arguments
    axes = tuple(range(dy.ndim - 1))
    return Contender(lambda: dy.sum(axes), plain)


# Pooling


def _max_pool(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    if kernel == "max_pool2d_forward":
        x, kernel_size, stride, padding, ceil_mode = arguments
        t, where = as_image(x, layout), (kernel_size, stride, symmetric(padding), (1, 1), ceil_mode)
        # Its index counts cells of the image and ours cells of the window: only y is compared.
        return Contender(lambda: aten.max_pool2d_with_indices(t, *where), lambda result: from_image(result[0]))
    dy, index, x_shape, kernel_size, stride, padding = arguments
    where = (kernel_size, stride, symmetric(padding), (1, 1), False)
    kh, kw = index // kernel_size[1], index % kernel_size[1]
    OH, OW = (torch.arange(size, device=index.device) for size in index.shape[1:3])
    h = OH[:, None, None] * stride[0] + kh - padding[0][0]
    w = OW[:, None] * stride[1] + kw - padding[1][0]
    cells = as_image(h * x_shape[2] + w, layout)
    d, t = as_image(dy, layout), empty_image(x_shape, layout, dy)
    return Contender(lambda: aten.max_pool2d_with_indices_backward(d, t, *where, cells), from_image)


def _avg_pool(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    """Average pooling, and the sum, which is an average divided by 1."""
    divisor = 1 if kernel.startswith("sum") else None
    if kernel.endswith("forward"):
        x, kernel_size, stride, padding, ceil_mode, *_ = arguments
        t, where = as_image(x, layout), (kernel_size, stride, symmetric(padding), ceil_mode, False, divisor)
        return Contender(lambda: F.avg_pool2d(t, *where), from_image)
    dy, x_shape, kernel_size, stride, padding, *_ = arguments
    d, t = as_image(dy, layout), empty_image(x_shape, layout, dy)
    where = (kernel_size, stride, symmetric(padding), False, False, divisor)
    return Contender(lambda: aten.avg_pool2d_backward(d, t, *where), from_image)


def _adaptive_pool(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    t = as_image(arguments[0], layout)
    if kernel.endswith("forward"):
        return Contender(lambda: F.adaptive_avg_pool2d(t, arguments[1]), from_image)
    x = empty_image(arguments[1], layout, arguments[0])
    return Contender(lambda: aten._adaptive_avg_pool2d_backward(t, x), from_image)


# Normalisation


def _batch_norm(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender | None:
    if kernel == "batch_norm_statistics":
        images = as_image(arguments[0], layout)
        return Contender(lambda: torch.var_mean(images, (0, 2, 3), correction=0), lambda r: (plain(r[1]), plain(r[0])))
    training = "inference" not in kernel
    if training and arguments[0].numel() == arguments[0].shape[-1]:
        return None  # PyTorch refuses to train on one value a channel
    if kernel.endswith("forward"):
        *arrays, eps, _, _ = arguments  # without residual and activation
        x, (gamma, beta, *running) = as_image(arrays[0], layout), arrays[1:]
        statistics: Any = running or [None, None]
        return Contender(
            lambda: aten.native_batch_norm(x, gamma, beta, *statistics, training, 0.1, eps),
            lambda result: from_image(result[0]),
        )
    *arrays, eps, _ = arguments
    dy, x = as_image(arrays[0], layout), as_image(arrays[1], layout)
    gamma, _, mean, var = arrays[2:]
    inverse = (var + eps).rsqrt()
    given: Any = [None, None] if training else [mean, var]
    rest = (gamma, *given, mean, inverse, training, eps, [True, True, True])
    return Contender(
        lambda: aten.native_batch_norm_backward(dy, x, *rest),
        lambda result: (from_image(result[0]), plain(result[1]), plain(result[2])),
    )


def _local_response_norm(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    *arrays, size, alpha, beta, k = arguments
    if kernel.endswith("forward"):
        x = as_image(arrays[0], layout)
        return Contender(lambda: F.local_response_norm(x, size, alpha, beta, k), from_image)
    dy, x = as_image(arrays[0], layout), as_image(arrays[1], layout).requires_grad_()
    y = F.local_response_norm(x, size, alpha, beta, k)
    return Contender(lambda: torch.autograd.grad(y, x, dy, retain_graph=True), lambda result: from_image(result[0]))


# Element by element, and row by row


def _activation(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    name, direction = kernel.split("_")
    if direction == "forward":
        function = F.relu6 if name == "relu6" else getattr(torch, name)
        return Contender(lambda: function(*arguments), plain)
    if name == "relu":
        return Contender(lambda: aten.threshold_backward(*arguments, 0), plain)
    if name == "relu6":
        return Contender(lambda: aten.hardtanh_backward(*arguments, 0, 6), plain)
    backward = getattr(aten, f"{name}_backward")
    return Contender(lambda: backward(*arguments), plain)


def _softmax(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    name, direction = kernel.rsplit("_", 1)
    if direction == "forward":
        return Contender(lambda: getattr(torch, name)(*arguments, -1), plain)
    backward = getattr(aten, f"_{name}_backward_data")
    return Contender(lambda: backward(*arguments, -1, torch.float32), plain)


def _cross_entropy(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    if kernel.endswith("forward"):
        logits, target = arguments
        return Contender(lambda: F.cross_entropy(logits, target), plain)
    dloss, p, target = arguments
    logits = p.log().requires_grad_()  # softmax of log p is p again: these are logits that have these probabilities
    loss = F.cross_entropy(logits, target)
    call = lambda: torch.autograd.grad(loss, logits, dloss, retain_graph=True)  # noqa: E731
    return Contender(call, lambda result: plain(result[0]))


def _mean_squared_error(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    if kernel.endswith("forward"):
        return Contender(lambda: F.mse_loss(*arguments), plain)
    return Contender(lambda: aten.mse_loss_backward(*arguments, 1), plain)


def _update(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    """A step of the whole optimizer object, which is how PyTorch offers it; on a GPU in one kernel where it can."""
    (w,), (dw,), *_ = arguments
    w = w.clone().requires_grad_()
    w.grad = dw.clone()
    fused = w.is_cuda or None
    if kernel == "sgd_update":
        _, _, _, lr, momentum, nesterov, decay = arguments
        optimizer: Any = torch.optim.SGD([w], lr, momentum, weight_decay=decay, nesterov=nesterov, fused=fused)
    elif kernel == "adagrad_update":
        *_, lr, eps, decay = arguments
        optimizer = torch.optim.Adagrad([w], lr, eps=eps, weight_decay=decay)
    elif kernel == "rmsprop_update":
        *_, lr, alpha, eps, momentum, decay = arguments
        optimizer = torch.optim.RMSprop([w], lr, alpha, eps, decay, momentum)
    elif kernel == "adam_update":
        *_, lr, beta1, beta2, eps, decay, decoupled = arguments
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        optimizer = kind([w], lr, (beta1, beta2), eps, decay, fused=fused)
    else:
        *_, lr, rho, eps, decay = arguments
        optimizer = torch.optim.Adadelta([w], lr, rho, eps, decay)
    return Contender(optimizer.step, lambda _: plain(w))


def _warp(kernel: str, arguments: tuple[Any, ...], layout: str) -> Contender:
    """Places on a grid (affine_grid), and what is there (grid_sample). An image goes from -1 to 1 there, (x, y)."""
    x, matrices, *_ = arguments
    image = as_image(x, layout)
    _, H, W, _ = x.shape
    to_unit = torch.tensor([[2 / H, 0, 1 / H - 1], [0, 2 / W, 1 / W - 1], [0, 0, 1]], dtype=torch.float64)
    square = torch.cat([matrices.cpu(), torch.tensor([[[0.0, 0, 1]]]).expand(len(x), 1, 3).double()], dim=1)
    theta = (to_unit @ square @ torch.linalg.inv(to_unit))[:, [1, 0]][:, :, [1, 0, 2]].to(x.device, x.dtype)

    def call() -> Tensor:
        grid = F.affine_grid(theta, list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, padding_mode="border", align_corners=False)

    return Contender(call, from_image)


Builder = Callable[[str, tuple[Any, ...], str], "Contender | None"]
_BUILDERS: dict[str, Builder] = {
    "conv2d": _convolution,
    "im2col": _columns,
    "col2im": _columns,
    "linear": _linear,
    "bias": _bias,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "sum_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "batch_norm": _batch_norm,
    "local_response_norm": _local_response_norm,
    "relu": _activation,
    "relu6": _activation,
    "tanh": _activation,
    "sigmoid": _activation,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "cross_entropy": _cross_entropy,
    "mean_squared_error": _mean_squared_error,
    "sgd_update": _update,
    "adagrad_update": _update,
    "rmsprop_update": _update,
    "adadelta_update": _update,
    "adam_update": _update,
    "warp": _warp,
}
_FLAT = (_bias, _activation, _update)  # whatever the shape, these see a row of numbers: no layout to choose
