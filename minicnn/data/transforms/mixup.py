"""Mixup: a batch and the same batch in another order, laid over each other with their labels."""

from __future__ import annotations

import numpy as np

from minicnn.data.transforms.checks import checked_number


class Mixup:
    """Mix every sample with another one of its batch: for a DataLoader's batch_transform.

    alpha: above 0; the smaller, the nearer to one of both a mixture is. classes: K, how many there are.

    `mixup(x, labels, rng)`: x (n, H, W, C) float32; labels (n,) whole numbers below K, or (n, K) probabilities; rng a
    NumPy generator. With lambda drawn from Beta(alpha, alpha), once for the batch, and an order pi,

        x'_i = lambda x_i + (1 - lambda) x_pi(i)
        t'_i = lambda t_i + (1 - lambda) t_pi(i)        t: one-hot labels

    Returns x' and t' (n, K), fresh, both float32: probabilities, which cross_entropy takes in place of labels.

    Raises ValueError for labels of K and above, or of another shape.
    Source: Zhang, Cisse, Dauphin & Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018, section 2.
    """

    def __init__(self, alpha: float, classes: int) -> None:
        self.alpha = checked_number("Mixup", "alpha", alpha, 1e-3, 1e3)
        if isinstance(classes, bool) or not isinstance(classes, int | np.integer):
            raise TypeError(f"Mixup expected a whole number of classes, got {classes!r}")
        self.classes = int(checked_number("Mixup", "classes", int(classes), 1, 2**31))

    def __call__(self, x: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        targets = self._targets(x, labels)
        share = np.float32(rng.beta(self.alpha, self.alpha))
        order = rng.permutation(len(x))
        return share * x + (1 - share) * x[order], share * targets + (1 - share) * targets[order]

    def _targets(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The labels as probabilities, (n, K) float32."""
        if labels.shape == (len(x), self.classes) and labels.dtype.kind == "f":
            return labels.astype(np.float32, copy=False)
        if labels.shape != (len(x),) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"Mixup expected labels ({len(x)},) of whole numbers or ({len(x)}, {self.classes}) of probabilities, "
                f"got {labels.dtype} of shape {labels.shape}"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
            raise ValueError(
                f"Mixup expected labels from 0 to {self.classes - 1}, got {labels.min()} to {labels.max()}; "
                "raise `classes`"
            )
        return np.eye(self.classes, dtype=np.float32)[labels]
