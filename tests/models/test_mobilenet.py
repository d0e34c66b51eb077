"""MobileNet and MobileNetV2: published counts, torchvision's names, the shortcut, agreement with a PyTorch twin."""

import importlib

import numpy as np
import pytest
from twins import check_training_step

import minicnn as mc
from minicnn import models, nn

parts = importlib.import_module("minicnn.models.mobilenet")

# Output shapes of features.0, features.1 ...: table 1 of Howard et al. 2017, table 2 of Sandler et al. 2018.
SHAPES_V1 = [(112, 32), (112, 64), *[(56, 128)] * 2, *[(28, 256)] * 2, *[(14, 512)] * 6, *[(7, 1024)] * 2]
SHAPES_V2 = [(112, 32), (112, 16), *[(56, 24)] * 2, *[(28, 32)] * 3, *[(14, 64)] * 4, *[(14, 96)] * 3,
             *[(7, 160)] * 3, (7, 320), (7, 1280)]  # fmt: skip


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


@pytest.fixture(scope="module")
def built():
    return {builder: builder() for builder in (models.mobilenet_v1, models.mobilenet_v2)}


# Howard et al., table 4: 569 million multiply-adds, 4.2 million parameters; torchvision prints the count of version 2
# and 0.301 billion.
@pytest.mark.parametrize(
    ("builder", "parameters", "millions", "shapes"),
    [
        (models.mobilenet_v1, 4_231_976, 568.7, SHAPES_V1),
        (models.mobilenet_v2, 3_504_872, 300.8, SHAPES_V2),
    ],
)
def test_size_work_and_stages_are_those_of_the_papers(built, builder, parameters, millions, shapes):
    summary = mc.summary(built[builder], (224, 224, 3))
    assert summary.parameters == parameters
    assert summary.multiply_adds / 1e6 == pytest.approx(millions, rel=5e-4)
    rows = {row.name: row.output_shape for row in summary.rows}
    assert [rows[f"features.{i}"] for i in range(len(shapes))] == [(size, size, C) for size, C in shapes]
    assert f"features.{len(shapes)}" not in rows
    assert (rows["avgpool"], rows["classifier"]) == ((shapes[-1][1],), (1000,))


def test_names_are_those_of_torchvision(built):
    names = list(built[models.mobilenet_v2].state_dict())
    assert names[:6] == ["features.0.0.weight", *(f"features.0.1.{name}" for name in
                         ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"))]  # fmt: skip
    convolutions = [
        name for name in names if name.endswith("weight") and name.startswith(("features.1.", "features.2."))
    ]
    assert convolutions == [f"features.{name}.weight" for name in
                            ("1.conv.0.0", "1.conv.0.1", "1.conv.1", "1.conv.2",
                             "2.conv.0.0", "2.conv.0.1", "2.conv.1.0", "2.conv.1.1",
                             "2.conv.2", "2.conv.3")]  # fmt: skip
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"]
    assert "features.1.1.0.weight" in built[models.mobilenet_v1].state_dict()  # the same pattern: block, part, layer


def test_a_block_that_keeps_the_shape_adds_its_input():
    x = mc.tensor(np.random.default_rng(0).random((2, 5, 5, 4), np.float32))
    same, wider, smaller = (parts.InvertedResidual(4, *rest) for rest in ((4, 6, 1), (5, 6, 1), (4, 6, 2)))
    for block in (same, wider, smaller):
        list(block.conv)[-1].weight.assign(np.zeros(block.conv[-2].out_channels))
    np.testing.assert_array_equal(same(x).numpy(), x.numpy())
    assert not wider(x).numpy().any()
    assert not smaller(x).numpy().any()


@pytest.mark.parametrize("version", [1, 2])
def test_a_small_network_against_torch(version):
    torch = pytest.importorskip("torch")
    if version == 1:
        features = [parts.normalized(3, 8, 3, 2), *(nn.Sequential(parts.depthwise(8, s), parts.normalized(8, 8, 1))
                    for s in (1, 2))]  # fmt: skip
        theirs = [torch_normalized(torch, 3, 8, 3, 2),
                  *(torch.nn.Sequential(torch_normalized(torch, 8, 8, 3, s, 8), torch_normalized(torch, 8, 8, 1))
                    for s in (1, 2))]  # fmt: skip
    else:
        blocks = [(8, 8, 1, 1), (8, 12, 6, 2), (12, 12, 6, 1)]
        features = [parts.normalized(3, 8, 3, 2), *(parts.InvertedResidual(*block) for block in blocks)]
        theirs = [torch_normalized(torch, 3, 8, 3, 2), *(torch_residual(torch, *block) for block in blocks)]
    channels = 8 if version == 1 else 12
    twin = torch.nn.Sequential()
    twin.add_module("features", torch.nn.Sequential(*theirs))
    twin.add_module("avgpool", torch.nn.AdaptiveAvgPool2d(1))
    twin.add_module("flatten", torch.nn.Flatten())
    twin.add_module("classifier", torch.nn.Sequential(torch.nn.Dropout(0), torch.nn.Linear(channels, 5)))
    images = np.random.default_rng(0).standard_normal((3, 30, 38, 3)) * 4  # so that ReLU6 stops something
    check_training_step(parts.network(features, channels, 0.0, 5), twin, torch, images, 5)


def torch_normalized(torch, inputs, outputs, K, stride=1, groups=1):
    """Convolution, batch norm and ReLU6 in PyTorch."""
    conv = torch.nn.Conv2d(inputs, outputs, K, stride, K // 2, groups=groups, bias=False)
    return torch.nn.Sequential(conv, torch.nn.BatchNorm2d(outputs), torch.nn.ReLU6())


def torch_residual(torch, inputs, outputs, expansion, stride):
    """An InvertedResidual in PyTorch."""
    wide = inputs * expansion

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            expand = [torch_normalized(torch, inputs, wide, 1)] if expansion > 1 else []
            look = torch_normalized(torch, wide, wide, 3, stride, wide)
            project = torch.nn.Conv2d(wide, outputs, 1, bias=False), torch.nn.BatchNorm2d(outputs)
            self.conv = torch.nn.Sequential(*expand, look, *project)

        def forward(self, x):
            return self.conv(x) + x if (inputs, stride) == (outputs, 1) else self.conv(x)

    return Block()
