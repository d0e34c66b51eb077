"""See every step of backpropagation in a network, on a picture of your own.

    python examples/show_backprop.py --model lenet5 --open

writes one HTML file and opens it: the computation graph, both passes step by
step, each value and gradient, and for a gradient the products that made it. It
needs no network and no server. Fresh weights are random; those of a run come
with its folder:

    python examples/train_lenet.py
    python examples/show_backprop.py --weights runs/lenet5-mnist --index 8
"""

import argparse
import webbrowser
from pathlib import Path

import numpy as np
import script
import training

import minicnn as mc
from minicnn import data, models, nn
from minicnn import functional as F
from minicnn.study import sources

DIGITS = (28, 28, 1)


def parse_arguments() -> argparse.Namespace:
    """The settings from the command line."""
    parser = script.option_parser(__doc__)
    add = parser.add_argument
    add("--model", metavar="NAME", help=f"one of {', '.join(models.names())} (default: that of the run, else lenet5)")
    add("--weights", metavar="SOURCE", help="the folder of a run, a checkpoint, a file of PyTorch's weights, or a name "
        "under which such are published (default: fresh weights, drawn from the seed)")  # fmt: skip
    add("--image", type=Path, metavar="FILE", help="a picture that Pillow can read (default: a digit of MNIST)")
    add("--index", type=int, default=0, metavar="N", help="which of MNIST's 10,000 test digits (default: 0)")
    add("--label", type=int, metavar="CLASS", help="the right class (default: the digit's; for a picture the class "
        "that the network takes it for)")  # fmt: skip
    add("--training", action="store_true", help="compute as in training: dropout drops, batch normalisation takes "
        "the statistics of the one sample")  # fmt: skip
    add("--out", type=Path, metavar="FILE", help="where the page goes (default: backprop-NAME.html)")
    add("--open", action="store_true", help="open it in the browser")
    add("--seed", type=int, default=0, metavar="N", help="of fresh weights (default: 0)")
    script.add_device(parser)
    add("--kernels", default="cpu", choices=mc.kernels.ROOMS, help="compiled kernels (cpu), or the plain NumPy ones "
        "that are written to be read (reference) (default: cpu)")  # fmt: skip
    add("--threads", type=int, metavar="N", help="threads of the compiled kernels (default: one for each core)")
    return parser.parse_args()


def load_sample(settings: argparse.Namespace, source: sources.Source, name: str) -> tuple[np.ndarray, int | None]:
    """The picture, (H, W, C), and its class if that is known."""
    if settings.image is not None:
        return sources.read_image(settings.image, source), settings.label
    if source.shape != DIGITS:
        raise ValueError(f"{name} is made for images {source.shape}: name one with --image, and its --label")
    _, test = data.mnist()
    if not 0 <= settings.index < len(test):
        raise ValueError(f"--index expected a number from 0 to {len(test) - 1}, got {settings.index}")
    image, label = test[settings.index]
    return image, int(label) if settings.label is None else settings.label


def predicted(model: nn.Module, x: np.ndarray, device: str) -> int:
    """The class that the network takes the picture for; as in evaluation, and the model is left in its mode."""
    mode = model.training
    with mc.no_grad():
        y = model.eval()(mc.tensor(x[np.newaxis], device=device))
    model.train(mode)
    return int(y.numpy().argmax())


def work(settings: argparse.Namespace) -> None:
    """Write the page."""
    mc.seed(settings.seed)
    device, source = script.chosen_device(settings.device), sources.load(settings.model, settings.weights)
    model = source.model.train(settings.training).to(device)
    name = settings.model or source.settings.get("model", "lenet5")
    x, label = load_sample(settings, source, name)
    label = predicted(model, x, device) if label is None else label
    out = settings.out or Path(f"backprop-{name.replace(':', '-')}.html")
    if settings.kernels == "cpu":
        print("Kernels are compiled at their first use: the first page takes longer.")
    loss = models.map_criterion if name == "lenet5:1998" else F.cross_entropy
    mc.study.backprop_page(model, x, label, out, loss, title=name)
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")
    if settings.open:
        webbrowser.open(out.resolve().as_uri())


if __name__ == "__main__":
    training.run(__file__, parse_arguments, work)
