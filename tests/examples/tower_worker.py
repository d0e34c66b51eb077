"""A rank that test_alexnet_two_gpus.py starts: it trains a tower for a few steps, and writes what came of it."""

import json
import sys
from pathlib import Path

import launch
import numpy as np

import minicnn as mc
from minicnn import functional as F
from minicnn import optim


def trained(model, images, labels, steps):
    """A few steps with dropout: the logits and the gradients of the first, the loss of each, the weights at the end."""
    optimizer = optim.SGD(model.parameters(), 0.02, momentum=0.9, weight_decay=5e-4)
    first, losses = {}, []
    for _ in range(steps):
        logits = model(mc.tensor(images))
        loss = F.cross_entropy(logits, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if not first:
            first = {"logits": logits.data, **{f"d {name}": p.grad.copy() for name, p in model.named_parameters()}}
        optimizer.step()
    weights = {f"w {name}": value for name, value in model.state_dict().items()}
    return {**first, "losses": np.array(losses), **weights, "answer": model.eval()(mc.tensor(images)).data}


def main(folder):
    """The settings of the test lie in the folder, with the images."""
    sys.path.insert(0, str(launch.FOLDER))
    import alexnet_tower

    settings = json.loads((folder / "settings.json").read_text())
    mc.set_threads(1)
    mc.seed(settings["seed"])
    communicator = mc.distributed.init(timeout=120.0)
    model = alexnet_tower.tower(communicator, settings["classes"], **settings["sizes"])
    with np.load(folder / "images.npz") as given:
        images, labels = given["images"], given["labels"]
    model.to(dtype=images.dtype)
    begun = {f"begun {name}": value for name, value in model.state_dict().items()}
    with mc.kernels.use(settings["room"]):
        result = trained(model, images, labels, settings["steps"])
        sent = alexnet_tower.bytes_exchanged(model, communicator, mc.tensor(images))
    whole = alexnet_tower.grouped_state(model, communicator)
    (folder / f"{communicator.rank}.json").write_text(json.dumps(sent))
    np.savez(folder / f"{communicator.rank}.npz", **begun, **result, **{f"whole {n}": w for n, w in whole.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
