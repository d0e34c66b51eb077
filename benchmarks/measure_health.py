"""How healthy networks look: what the limits of `study.diagnose` were drawn from.

For a small network of each family, and LeNet-5 in its other two forms, fresh
and after some steps on digits: the largest share of dead units in a ReLU layer,
the largest share of saturated results of tanh or sigmoid, the smallest and the
largest root mean square of a layer beside the first layer's, the smallest
relative gradient beside the largest of a later layer, the largest beside the
last layer's, and the mean probability of the most likely class.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench_learning import digits
from small_networks import Small, small_networks

from minicnn import kernels

HEAD = ("network", "steps", "dead", "saturated", "least", "most", "vanishing", "exploding", "sure")
SAMPLES, BATCH_SIZE = 32, 16


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="(default: all)")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="of training (default: 100)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the kernels (default: one for each core)")
    options = parser.parse_args()
    if options.threads is not None:
        kernels.set_threads(options.threads)
    known = {**small_networks(), **lenets()}
    print(line(HEAD))
    if strangers := set(options.networks) - known.keys():
        parser.error(f"no network is called {', '.join(sorted(strangers))}: there are {', '.join(known)}")
    if options.steps < 0:
        parser.error(f"--steps expected a number from 0, got {options.steps}")
    for name in options.networks or known:
        for steps in (0, options.steps):
            print(line((name, steps, *measured(name, known[name], steps))), flush=True)


def lenets() -> dict[str, Small]:
    """The forms of LeNet-5 that are in no other table, each with the learning rate of examples/train_lenet.py."""
    from minicnn import models

    return {
        "lenet5:d2l": Small(lambda: models.lenet5("d2l"), 28, lr=0.1),
        "lenet5:1998": Small(lambda: models.lenet5("1998"), 28, lr=0.003),
    }


def line(cells: tuple[Any, ...]) -> str:
    texts = [f"{cell:.2g}" if isinstance(cell, float) else str(cell) for cell in cells]
    return f"{texts[0]:<24}" + "".join(f"{text:>10}" for text in texts[1:])


def measured(name: str, small: Small, steps: int) -> tuple[float, ...]:
    """The numbers of a network after so many steps."""
    import numpy as np

    import minicnn as mc
    from minicnn import functional as F
    from minicnn import models, optim
    from minicnn.study.diagnosis.examination import examine, put_back

    mc.seed(0)
    loss = {"googlenet": models.googlenet_loss, "lenet5:1998": models.map_criterion}.get(name, F.cross_entropy)
    model = small.build()
    train, test = digits(small.side, max(steps, 1) * BATCH_SIZE, SAMPLES)
    optimizer = optim.SGD(model.parameters(), small.lr, momentum=0.9)
    for start in range(0, steps * BATCH_SIZE, BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        optimizer.zero_grad()
        x = mc.tensor(train.images[part] / np.float32(255))
        loss(model(x), train.labels[part]).backward()
        optimizer.step()
    with put_back(model, None):
        return numbers(examine(model, mc.tensor(test.images / np.float32(255)), test.labels, loss))


def numbers(seen: Any) -> tuple[float, ...]:
    """What the rules look at."""
    from minicnn.study.diagnosis.data_rules import confidence
    from minicnn.study.diagnosis.examination import activation_of, root_mean_square
    from minicnn.study.diagnosis.layer_rules import dead_share, relative_gradients, saturated_share

    kinds = [(activation_of(step.operation), step) for step in seen.steps]
    dead = max((dead_share(step) for kind, step in kinds if kind == "relu"), default=0.0)
    saturated = max((saturated_share(step) for kind, step in kinds if kind in ("tanh", "sigmoid")), default=0.0)
    sizes = [root_mean_square(step.output.data) for step in seen.layers]
    slopes = [size for _, size in relative_gradients(seen)]
    vanishing = min((size / max(slopes[i + 1 :]) for i, size in enumerate(slopes[:-1])), default=1.0)
    exploding = max(slopes) / slopes[-1]
    return dead, saturated, min(sizes) / sizes[0], max(sizes) / sizes[0], vanishing, exploding, confidence(seen.outputs)


if __name__ == "__main__":
    main()
