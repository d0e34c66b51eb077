"""A model's training step on a GPU, in every precision, against the same step in the reference room in float64."""

import copy
from typing import NamedTuple

import numpy as np

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, optim
from minicnn.device import to_device


class Step(NamedTuple):
    """What a training step computes, as NumPy arrays: logits (N, K), gradients and running statistics by name."""

    logits: np.ndarray
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


class Tolerance(NamedTuple):
    """How large the norm of an error may be, of the norm of what it is an error of.

    logits and statistics: of each array. gradient: of all Parameters' as one vector. each: of one Parameter's.
    """

    logits: float
    statistics: float
    gradient: float
    each: float


# A product is rounded by 6e-8 in float32 and 5e-4 in TF32 and float16, which also rounds what lies between layers. In
# logits the errors of some ten layers and more add up. Gradients have leaps: a number that rounding moves over 0 passes
# ReLU or does not, and another one may win a pooling window. So a share of the numbers is wrong altogether, and what
# that makes in the norm is the root of the share: of a millionth, as in float32, a thousandth, of a hundredth a tenth.
# Batch norm over the few pixels of the last layers makes such an error larger. A single Parameter's gradient is what is
# left of a sum over all pixels, and of some of them TF32 and float16 leave nothing: there they are no measure.
TOLERANCES = {
    "float32": Tolerance(logits=1e-4, statistics=1e-4, gradient=2e-3, each=2e-2),
    "tf32": Tolerance(logits=2e-2, statistics=2e-2, gradient=0.4, each=np.inf),
    "float16": Tolerance(logits=3e-2, statistics=3e-2, gradient=0.5, each=np.inf),
}
# The gradient of a bias before batch norm is 0 and comes out as the rounding of a sum. So a Parameter's gradient counts
# with this share of the largest one's norm, if it is smaller.
LEAST = 1e-3


class Still(optim.SGD):
    """Leaves the weights as they are, so that their gradients can be looked at."""

    def step(self):
        pass


def exact_step(model, images, labels, loss=F.cross_entropy):
    """The step in the reference room; the model is float64."""
    with kernels.use("reference"):
        logits = model(mc.tensor(images))
        loss(logits, labels).backward()
    return _looked_at(model, logits)


def check_step_on_gpu(model, images, labels, exact, loss=F.cross_entropy):
    """The model, which has not made the step of `exact` yet, makes it on the GPU in each precision."""
    for precision, tolerance in TOLERANCES.items():
        got = gpu_step(copy.deepcopy(model), precision, images, labels, loss)
        errors = {
            "logits": _error([got.logits], [exact.logits]),
            "gradient": _error([got.gradients[name] for name in exact.gradients], list(exact.gradients.values())),
            **{f"statistics of {name}": _error([got.statistics[name]], [a]) for name, a in exact.statistics.items()},
        }
        least = LEAST * max(map(np.linalg.norm, exact.gradients.values()))
        for name, gradient in exact.gradients.items():
            errors[f"each {name}"] = _error([got.gradients[name]], [gradient], least)
        allowed = {name: getattr(tolerance, name.split()[0]) for name in errors}
        wrong = {name: f"{error:.2g}" for name, error in errors.items() if error > allowed[name]}
        assert not wrong, f"on the GPU in {precision} these are wrong by so much of their norm: {wrong}"


def gpu_step(model, precision, images, labels, loss=F.cross_entropy):
    """The step on the GPU, as the Trainer makes it; the model is moved there."""
    model.to("cuda", dtype="float32")
    mixed = "float16" if precision == "float16" else "float32"
    trainer = mc.Trainer(model, Still(model.parameters(), lr=1.0), loss, precision=mixed)
    mc.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        logits = trainer.forward(to_device(images.astype(np.float32), "cuda"))
        trainer.update(trainer.loss(logits, labels))
    finally:
        mc.set_float32_matmul_precision("highest")
    return _looked_at(model, logits)


def _looked_at(model, logits):
    gradients = {name: to_device(parameter.grad, "cpu") for name, parameter in model.named_parameters()}
    statistics = {name: to_device(a, "cpu") for name, a in model.named_buffers(persistent_only=True)}
    return Step(to_device(logits.data, "cpu"), gradients, statistics)


def _error(got, expected, least=0.0):
    """The norm of a difference over that of what is expected, at least `least`; of several arrays as one vector."""
    got, expected = (np.concatenate([np.ravel(a).astype(np.float64) for a in arrays]) for arrays in (got, expected))
    difference, size = np.linalg.norm(got - expected), max(np.linalg.norm(expected), least)
    return np.inf if np.isnan(difference) else difference / size if size else difference
