"""The backward pass. (Whether it is right is checked by study/gradient_check.)

Why an order matters. In the diamond  a -> b = 2a, c = 3a -> d = b * c  the gradient of `a` is a sum of two
parts, one through b and one through c. The Function that made `a` must wait for both before it runs; if it
ran on the first part it would have to run again. So Functions run in reverse topological order: each after
everything that was computed from its result. Sorting by creation number gives that order for nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import device, kernels
from ._tensor import Tensor

if TYPE_CHECKING:
    from ._function import Function

Array = Any
Before = Callable[["Function", Array], None]
After = Callable[["Function", tuple[Array | None, ...]], None]
Complete = Callable[[Tensor, Array], None]


class _Watching(threading.local):
    """Whom each Function's backward in this Python thread tells about itself; see `observe`."""

    def __init__(self) -> None:
        self.observers: list[observe] = []


_watching = _Watching()


class observe:
    """`with observe(before, after, complete):` shows each step of a backward pass, in the order in which they run; of
    passes in this Python thread.

    before(function, dy): with the gradient in its result complete; after(function, dxs): with what its `backward` has
    returned for its inputs. The arrays are the pass's own: whoever wants to keep one copies it.
    complete(leaf, dx): as soon as every Function that reads a leaf has added its part to the leaf's gradient dx, which
    the pass adds to `.grad` when it ends, and nobody reads until then. A leaf without a gradient is not shown.
    """

    def __init__(
        self,
        before: Before = lambda function, dy: None,
        after: After = lambda function, dxs: None,
        complete: Complete | None = None,
    ) -> None:
        self.before, self.after, self.complete = before, after, complete

    def __enter__(self) -> None:
        _watching.observers.append(self)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _watching.observers.remove(self)


def backward(root: Tensor, gradient: Array | None = None) -> None:
    """Add to `.grad` of every leaf the gradient of `root` in it.

    root: the Tensor to differentiate, usually a loss.
    gradient: the gradient of some later loss in root, of root's shape and dtype; may be left out when root
        has one element, and is then 1.

    The chain rule, one Function at a time: from dy, the gradient in its result, a Function computes the
    gradient in each input; where several Functions read one Tensor, the parts add up. Saved arrays are given
    back as soon as their Function is done, so a second backward through the same graph is an error. So is one
    through a layer whose weights an optimizer has changed since; what you write into `.data` yourself, nobody sees.
    The engine is first order: gradients are plain arrays and cannot be differentiated again.
    """
    with device.explaining():
        _walk_back(root, gradient)


def _walk_back(root: Tensor, gradient: Array | None) -> None:
    """What `backward` does."""
    dy = _first_gradient(root, gradient)
    if root.creator is None:
        _accumulate({root: dy})
        return
    order = _functions_below(root.creator)
    gradients: dict[Function, Array] = {root.creator: dy}
    leaves: dict[Tensor, Array] = {}
    del dy  # from here on every array is held only by what still needs it
    completing = [observer.complete for observer in _watching.observers if observer.complete is not None]
    last_uses = _last_uses(order) if completing else {}
    while order:
        function = order.pop()
        if function in gradients:  # else what was made from its result has no gradient in it
            _propagate(function, gradients, leaves)
        function.release()
        for leaf in last_uses.get(function, ()):
            for complete in completing if leaf in leaves else ():
                complete(leaf, leaves[leaf])
    _accumulate(leaves)


def _last_uses(order: list[Function]) -> dict[Function, list[Tensor]]:
    """For each Function the leaves that the pass meets there for the last time: it was the first to read them."""
    found: set[Tensor] = set()
    uses: dict[Function, list[Tensor]] = {}
    for function in order:
        for x in function.inputs:
            if isinstance(x, Tensor) and x not in found:
                found.add(x)
                uses.setdefault(function, []).append(x)
    return uses


def _propagate(function: Function, gradients: dict[Function, Array], leaves: dict[Tensor, Array]) -> None:
    """Take the gradient in a Function's result, and add those in its inputs to where they are collected."""
    inputs = function.inputs
    _check_unchanged(function)
    observers = tuple(_watching.observers)
    for observer in observers:
        observer.before(function, gradients[function])
    # The gradient has no name here: `backward` can drop it as soon as it has read it.
    dxs = _checked(function, function.backward(gradients.pop(function)))
    for observer in observers:
        observer.after(function, dxs)
    for x, dx in zip(inputs, dxs, strict=True):
        if dx is None or x is None:
            continue
        if not isinstance(x, Tensor):
            gradients[x] = kernels.add(gradients[x], dx) if x in gradients else dx
        elif x in leaves:
            leaves[x] = kernels.add(leaves[x], dx)
        else:
            # A leaf's gradient belongs to the user, who may write into it: never shared with another array.
            data = (y.data for y in inputs if isinstance(y, Tensor))
            others = (*gradients.values(), *leaves.values(), *function.saved, *data)
            twice = sum(dx is d for d in dxs) > 1
            shared = twice or not kernels.is_whole(dx) or any(dx is other for other in others)
            leaves[x] = dx.copy() if shared else dx


def _check_unchanged(function: Function) -> None:
    """Raise RuntimeError if a leaf that the Function has saved was written over after the Function had read it."""
    for i, x in enumerate(function.inputs):
        if isinstance(x, Tensor) and x.changed > function.number and any(x.data is saved for saved in function.saved):
            raise RuntimeError(
                f"backward reached {function.name}, whose input {i} of shape {x.shape} has other values now than in "
                "the forward pass, so its gradients would be wrong: call backward before optimizer.step() and before "
                "weights are loaded, or compute the forward pass again"
            )


def _first_gradient(root: Tensor, gradient: Array | None) -> Array:
    """The gradient that starts the pass, checked."""
    if not root.requires_grad:
        raise RuntimeError(
            "backward expected a Tensor that was made from one with requires_grad=True, outside of no_grad"
        )
    xp = device.array_module(root.data)
    if gradient is None:
        if root.size != 1:
            raise ValueError(
                f"backward expected a loss of one element, got shape {root.shape}: "
                "reduce it with .sum() or .mean(), or pass gradient=, an array of that shape"
            )
        return xp.ones(root.shape, root.dtype)
    # A copy: what a Function makes of its gradient may become a leaf's.
    dy = xp.array(gradient.data if isinstance(gradient, Tensor) else gradient, dtype=root.dtype)
    if dy.shape != root.shape:
        raise ValueError(f"backward expected a gradient of shape {root.shape}, got {dy.shape}")
    return dy


def _functions_below(last: Function) -> list[Function]:
    """Every Function that `last` was computed from, itself included, by rising number.

    An explicit stack instead of recursion: a chain of 10,000 operations must not meet Python's recursion limit.
    """
    found = {last}
    stack = [last]
    while stack:
        function = stack.pop()
        if function.released:
            raise RuntimeError(
                f"backward reached {function.name}, whose saved arrays an earlier backward has given back: "
                "add the losses and call backward once, or compute the forward pass again"
            )
        for x in function.inputs:
            if x is not None and not isinstance(x, Tensor) and x not in found:
                found.add(x)
                stack.append(x)
    return sorted(found, key=lambda function: function.number)


def _checked(function: Function, dxs: Any) -> tuple[Array | None, ...]:
    """The gradients that a Function has computed, checked against its inputs."""
    if not isinstance(dxs, tuple) or len(dxs) != len(function.input_kinds):
        raise RuntimeError(
            f"{function.name}.backward must return a tuple of {len(function.input_kinds)} arrays, got {dxs!r}"
        )
    for i, (kind, dx) in enumerate(zip(function.input_kinds, dxs, strict=True)):
        if dx is None:
            continue
        if not device.is_array(dx):
            raise RuntimeError(f"{function.name}.backward must return arrays, got {type(dx).__name__} for input {i}")
        if (dx.shape, dx.dtype) != kind:
            axes = zip(kind[0][::-1], dx.shape[::-1], strict=False)
            stretched = dx.shape != kind[0] and len(kind[0]) <= dx.ndim and all(n in (1, m) for n, m in axes)
            raise RuntimeError(
                f"{function.name}.backward returned for input {i} a gradient of shape {dx.shape} and dtype {dx.dtype}, "
                f"expected {kind[0]} and {kind[1]}"
                + (": broadcasting has stretched it; sum it back with unbroadcast" if stretched else "")
            )
    return dxs


def _accumulate(leaves: dict[Tensor, Array]) -> None:
    """Write the finished gradients: after the pass, so that an error inside it leaves every .grad as it was."""
    for leaf, dx in leaves.items():
        total = dx if leaf.grad is None else leaf.grad + dx
        leaf.grad = device.array_module(leaf.data).asarray(total)
