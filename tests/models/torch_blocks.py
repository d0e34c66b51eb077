"""The blocks of the ResNets in PyTorch, as its users write them."""


def basic_block(torch, inputs, outputs, stride, shortcut):
    """A BasicBlock in PyTorch."""
    return block(torch, [(inputs, outputs, 3, stride, 1), (outputs, outputs, 3, 1, 1)], shortcut)


def bottleneck(torch, inputs, outputs, stride, shortcut, width, groups=1):
    """A Bottleneck in PyTorch, with its stride in the 3 x 3 convolution."""
    convolutions = [(inputs, width, 1, 1, 1), (width, width, 3, stride, groups), (width, outputs, 1, 1, 1)]
    return block(torch, convolutions, shortcut)


def block(torch, convolutions, shortcut):
    """relu(the convolutions, with batch norm behind each and ReLU between, + shortcut)."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for i, (inputs, outputs, K, stride, groups) in enumerate(convolutions, 1):
                conv = torch.nn.Conv2d(inputs, outputs, K, stride, K // 2, groups=groups, bias=False)
                setattr(self, f"conv{i}", conv)
                setattr(self, f"bn{i}", torch.nn.BatchNorm2d(outputs))
            self.downsample = shortcut

        def forward(self, x):
            y = x
            for i in range(1, len(convolutions) + 1):
                y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
                if i < len(convolutions):
                    y = torch.relu(y)
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    return Block()


def imagenet_network(torch, make, blocks, outputs, classes):
    """conv1 to fc. make(inputs, outputs, stride, shortcut) -> block; blocks: of each stage."""
    conv = lambda i, o, K, s=1: torch.nn.Conv2d(i, o, K, s, K // 2, bias=False)  # noqa: E731

    def stage(inputs, outputs, blocks, stride):
        shortcut = None
        if (inputs, stride) != (outputs, 1):
            shortcut = torch.nn.Sequential(conv(inputs, outputs, 1, stride), torch.nn.BatchNorm2d(outputs))
        rest = [make(outputs, outputs, 1, None) for _ in range(blocks - 1)]
        return torch.nn.Sequential(make(inputs, outputs, stride, shortcut), *rest)

    widths = [64, outputs // 8, outputs // 4, outputs // 2, outputs]
    stages = {f"layer{i}": stage(widths[i - 1], widths[i], blocks[i - 1], 1 + (i > 1)) for i in range(1, 5)}
    return named(torch, {
        "conv1": conv(3, 64, 7, 2), "bn1": torch.nn.BatchNorm2d(64), "relu": torch.nn.ReLU(),
        "maxpool": torch.nn.MaxPool2d(3, 2, 1), **stages, "avgpool": torch.nn.AdaptiveAvgPool2d(1),
        "flatten": torch.nn.Flatten(), "fc": torch.nn.Linear(outputs, classes),
    })  # fmt: skip


def zero_padded(torch):
    """Every second pixel, and as many channels of zeros as there are channels."""

    class Shortcut(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))

    return Shortcut()


def named(torch, layers):
    """A Sequential with these names."""
    result = torch.nn.Sequential()
    for name, layer in layers.items():
        result.add_module(name, layer)
    return result
