"""Exercise: a step of Adadelta, the optimizer that needs no learning rate.

It keeps two averages for every weight, one of the squared gradients and one of the squared steps, both 0 at first.
Where gradients have been large its steps are small; and the quotient of the two roots gives the step the unit of the
weight. With g the gradient of the loss in the weight, one step is, in this order:

    square_average = rho * square_average + (1 - rho) * g^2
    delta          = sqrt(update_average + eps) / sqrt(square_average + eps) * g
    update_average = rho * update_average + (1 - rho) * delta^2
    w              = w - lr * delta                               (the paper has no lr, which is lr = 1)

Asked: that step, in place: w, square_average and update_average are arrays of one shape and hold the new values
afterwards; nothing is returned. `w = w - ...` inside a function only gives the name w to another array.

Check it with `python examples/exercises/check.py adadelta`. The engine's own answer is adadelta_update in
kernels/reference/update_adaptive.py. Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.
"""

import numpy as np


def adadelta_update(
    w: np.ndarray,
    dw: np.ndarray,
    square_average: np.ndarray,
    update_average: np.ndarray,
    lr: float,
    rho: float,
    eps: float,
) -> None:
    """Writes w, square_average and update_average; dw stays as it is."""
    raise NotImplementedError
