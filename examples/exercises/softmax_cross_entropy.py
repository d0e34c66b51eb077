"""Exercise: the gradient of softmax with cross-entropy, where the backward pass of a classifier begins.

    logits, p (N, K)    labels (N,), whole numbers from 0 to K - 1

    p[n, k] = e^logits[n, k] / sum over j of e^logits[n, j]
    loss    = -1/N * sum over n of log p[n, labels[n]]

Asked: from dloss, the gradient of what comes later in the loss (a number, 1 where nothing does), that in the logits.
Derive log p[n, k] in logits[n, j] first, once for j = k and once for j != k: the answer is shorter than the question.
And mind that e^1000 is too large for a float: what may be subtracted from all logits of a row without changing p?

Check it with `python examples/exercises/check.py softmax_cross_entropy`. The engine's own answers are
cross_entropy_backward in kernels/reference/loss.py, and softmax_forward in kernels/reference/softmax.py.
"""

import numpy as np


def cross_entropy_backward(dloss: float, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """dlogits (N, K), of the dtype of logits."""
    raise NotImplementedError
