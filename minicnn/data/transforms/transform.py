"""What a transform is, what it may give back, and several of them one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minicnn import _random
from minicnn.data.datasets import IMAGE_TYPES
from minicnn.data.transforms.draws import Draws

PerSample = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Transform:
    """A change of the images of a batch. One of your own is a subclass that has `change`.

    `apply(images, draws)` checks, changes, and checks the result.
    images: (n, H, W, C) of one size, uint8 of 0 to 255 (or float32, float64: what is said of colours then takes them
        to be 0 to 1). They are not written to.
    draws: the random numbers of these n samples; None for those of samples 0 to n - 1 in epoch 0, with the seed in
        force.

    Returns a fresh array (n, H', W', C') of the same dtype. uint8 stays uint8, since the loader divides it by 255 and
    must not miss that: only a transform with `returns_float32` gives float32, which the model then gets as it is. After
    such a one there is no other (`Compose` sees to it), because colours have lost their range.

    alone: whether images of one size may come out in several, as of a function that cuts each as it likes. The loader
    then gives it one sample after the other, so that it works on any batch or on none.

    Raises TypeError for another dtype, ValueError for another shape.
    """

    returns_float32 = False
    alone = False

    def apply(self, images: np.ndarray, draws: Draws | None = None) -> np.ndarray:
        """The images changed; the same sample becomes the same pixels in every batch."""
        images = checked_images(images, type(self).__name__)
        if draws is None:
            draws = Draws(_random.current_seed(), 0, range(len(images)))
        if len(images) != len(draws):
            raise ValueError(f"{type(self).__name__} got {len(images)} images and the draws of {len(draws)} samples")
        return self._checked_change(images, self.change(images, draws))

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """The transform itself: images as in `apply`, already checked and in row-major order."""
        raise NotImplementedError(f"{type(self).__name__} has no change(images, draws)")

    def _checked_change(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        name = type(self).__name__
        if not isinstance(after, np.ndarray) or after.ndim != 4 or len(after) != len(before) or 0 in after.shape[1:]:
            came = f"shape {after.shape}" if isinstance(after, np.ndarray) else type(after).__name__
            raise ValueError(f"{name} expected to give images of shape ({len(before)}, H, W, C), gave {came}")
        dtype = np.dtype(np.float32) if self.returns_float32 else before.dtype
        if after.dtype != dtype:
            raise TypeError(f"{name} got images of {before.dtype}, expected to give {dtype}, gave {after.dtype}")
        return after.copy() if np.may_share_memory(after, before) else after


class Compose(Transform):
    """Several transforms, one after the other.

    steps: Transforms; a plain function (image, rng) -> image may stand among them, of one image (H, W, C), which it
        may write to, and a NumPy generator of that sample's own.

    Raises TypeError for another step, ValueError for none and for a step behind one that returns float32.
    """

    def __init__(self, steps: Sequence[Transform | PerSample]) -> None:
        if not isinstance(steps, list | tuple) or not steps:
            raise ValueError(f"Compose expected a list of at least one transform, got {steps!r}")
        self.steps = [_as_transform(step) for step in steps]
        for step, following in zip(self.steps, self.steps[1:], strict=False):
            if step.returns_float32:
                raise ValueError(
                    f"Compose: {type(step).__name__} returns float32 without a range, so nothing may stand behind it; "
                    f"put it behind {type(following).__name__}"
                )
        self.returns_float32 = self.steps[-1].returns_float32
        self.alone = any(step.alone for step in self.steps)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        for step in self.steps:
            images = step.apply(images, draws)
        return images


class _EachAlone(Transform):
    """A function (image, rng) -> image, called for one sample after the other."""

    alone = True

    def __init__(self, function: PerSample) -> None:
        self.function = function

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        changed = [
            np.asarray(self.function(image.copy(), rng)) for image, rng in zip(images, draws.generators(), strict=True)
        ]
        shapes = sorted({image.shape for image in changed})
        if len(shapes) > 1:
            raise ValueError(f"{self.function!r} made images of several sizes of one batch: {shapes}")
        return np.stack(changed) if changed else images.copy()


def _as_transform(step: Transform | PerSample) -> Transform:
    if isinstance(step, Transform):
        return step
    if isinstance(step, type) or not callable(step):
        raise TypeError(f"Compose expected a Transform or a function of (image, rng), got {step!r}")
    return _EachAlone(step)


def checked_images(images: np.ndarray, name: str) -> np.ndarray:
    """A batch of images (n, H, W, C) in row-major order and native bytes, or an error in the name of `name`."""
    images = np.asarray(images)
    if images.dtype.type not in IMAGE_TYPES:
        raise TypeError(f"{name} expected images of uint8, float32 or float64, got {images.dtype}; use .astype")
    if images.ndim != 4 or 0 in images.shape[1:]:
        cure = "; use images[np.newaxis] for one image" if images.ndim == 3 else ""
        raise ValueError(f"{name} expected images of shape (n, H, W, C), got {images.shape}{cure}")
    return np.ascontiguousarray(images, images.dtype.newbyteorder("="))
