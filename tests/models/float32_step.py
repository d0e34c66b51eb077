"""How exact a training step in float32 is: the gradients of ours and of PyTorch, each against PyTorch's in float64.

The gradient of a deep network has leaps. A number so near to 0 that rounding moves it over passes a ReLU in one library
and not in the other, or another one wins a pooling window, and whole gradients differ by per cents; between PyTorch's
own memory formats too. That says nothing about how exactly sums are computed, so each gradient is judged by the median
over several draws of images. In a network so deep that every draw has leaps, even that measures which numbers leapt,
and not how exactly sums were computed: there, PyTorch's distance is that of the further of its two memory formats.
"""

import numpy as np

import minicnn as mc
from minicnn import functional as F

LOGITS = 1e-4  # of the largest, in evaluation mode
# The gradient of a bias before batch norm is 0 and comes out as the rounding of sums, in another order in each library:
# a distance of this share of the largest gradient is none.
LEAST = 1e-6


def check_float32_step(model, twin, torch, shape, classes, turned, times_as_far, formats, draws):
    """model, twin: with the same weights, which ours has afterwards too; both come back in float32.

    shape: of the images. turned(name, array): an array of ours as PyTorch has it.
    times_as_far: how often PyTorch's distance from the float64 gradient ours may be.
    formats: PyTorch's memory formats, whose further one is PyTorch's distance. draws: of images; an odd number.
    """
    before, begin = model.to(dtype="float32").state_dict(), twin.double().state_dict()
    begin = {name: value.clone() for name, value in begin.items()}
    ratios = []
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        images, labels = rng.random(shape), rng.integers(0, classes, shape[0])
        exact, logits = _their_step(twin.double(), begin, torch, images, labels)
        rounded = images.astype(np.float32)
        theirs = [_their_step(twin.float(), begin, torch, rounded, labels, one)[0] for one in formats]
        ours, our_logits = _our_step(model, before, rounded, labels)
        assert np.abs(our_logits - logits).max() <= LOGITS * np.abs(logits).max()
        least = LEAST * max(map(np.linalg.norm, exact.values()))
        far = {name: np.linalg.norm(turned(name, ours[name]) - gradient) for name, gradient in exact.items()}
        near = {name: max(np.linalg.norm(one[name] - g) for one in theirs) for name, g in exact.items()}
        ratios.append([far[name] / max(near[name], least) if far[name] > least else 0.0 for name in exact])
    model.load_state_dict(before)
    model.zero_grad()
    for name, ratio in zip(exact, np.median(ratios, axis=0), strict=True):
        assert ratio <= times_as_far, f"{name}: {ratio:.2f} times as far from the float64 gradient as PyTorch's"


def _our_step(model, state, images, labels):
    """The gradients, and the logits in evaluation mode before the step."""
    model.load_state_dict(state)
    model.zero_grad()
    with mc.no_grad():
        logits = model.eval()(mc.tensor(images)).numpy()
    F.cross_entropy(model.train()(mc.tensor(images)), labels).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}, logits


def _their_step(twin, state, torch, images, labels, memory_format="contiguous_format"):
    """As _our_step, in PyTorch."""
    twin.load_state_dict(state)
    twin.zero_grad()
    # Contiguous by default, for PyTorch 2.13 crashes on small images in its other memory format with two threads.
    x = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=getattr(torch, memory_format))
    with torch.no_grad():
        logits = twin.eval()(x).numpy()
    torch.nn.functional.cross_entropy(twin.train()(x), torch.tensor(labels)).backward()
    return {name: parameter.grad.numpy().copy() for name, parameter in twin.named_parameters()}, logits
