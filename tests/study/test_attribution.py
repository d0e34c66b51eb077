"""Saliency against central differences, Grad-CAM against its formula in loops; functional models; what is refused."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import nn
from minicnn.study.attribution import grad_cam, saliency

pytestmark = pytest.mark.usefixtures("plain_kernels")


class Functional(nn.Module):
    """No layers, only operations."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(1)
        self.w = nn.Parameter(rng.normal(size=(3, 3, 2, 4)))
        self.v = nn.Parameter(rng.normal(size=(4, 3)))

    def maps(self, x):
        return F.tanh(F.conv2d(x, self.w, padding=1))

    def head(self, maps):
        return F.log_softmax((maps * maps).mean(axis=(1, 2)) @ self.v)

    def forward(self, x):
        return self.head(self.maps(x))


def scores(model, x):
    """The logits behind a log_softmax, but for a constant that all share: differences of them are the network's."""
    with mc.no_grad():
        maps = model.maps(mc.tensor(x)).numpy()
    return (maps**2).mean(axis=(1, 2)) @ model.v.data


@pytest.fixture
def image():
    return np.random.default_rng(2).normal(size=(5, 6, 2))


def test_saliency_is_the_largest_derivative_over_the_channels(image):
    model, h = Functional(), 1e-6
    expected = np.zeros((5, 6))
    for i, j, c in np.ndindex(image.shape):
        moved = np.stack([image, image])
        moved[:, i, j, c] += [h, -h]
        above, below = scores(model, moved)[:, 2]
        expected[i, j] = max(expected[i, j], abs(above - below) / (2 * h))
    found = saliency(model, image, label=2)
    np.testing.assert_allclose(found.map, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(found.image, image)


def test_a_layer_may_be_called_as_the_images_are(image):
    """The gradient in the images, which is called x too, is not that in its result."""

    class Tenfold(nn.Module):
        def forward(self, x):
            return x * 10.0

    class Named(Functional):
        def __init__(self, name):
            super().__init__()
            setattr(self, name, Tenfold())
            self.name = name

        def forward(self, x):
            return super().forward(getattr(self, self.name)(x))

    np.testing.assert_array_equal(saliency(Named("x"), image).map, saliency(Named("y"), image).map)


def test_the_class_is_the_likeliest_and_its_probability_is_softmax(image):
    model = Functional()
    s = scores(model, image[np.newaxis])[0]
    found = saliency(model, image)
    assert found.label == s.argmax()
    np.testing.assert_allclose(found.probabilities, np.exp(s) / np.exp(s).sum())


def test_grad_cam_is_its_formula(image):
    """alpha by central differences of the head in each cell of the maps, the weighted sum in loops."""
    model, h, label = Functional(), 1e-6, 1
    with mc.no_grad():
        A = model.maps(mc.tensor(image[np.newaxis])).numpy()

    def score(maps):
        return ((maps**2).mean(axis=(1, 2)) @ model.v.data)[0, label]

    _, H, W, K = A.shape
    alpha = np.zeros(K)
    for i, j, k in np.ndindex(H, W, K):
        above, below = A.copy(), A.copy()
        above[0, i, j, k] += h
        below[0, i, j, k] -= h
        alpha[k] += (score(above) - score(below)) / (2 * h) / (H * W)
    expected = np.zeros((H, W))
    for i, j in np.ndindex(H, W):
        expected[i, j] = max(0.0, sum(alpha[k] * A[0, i, j, k] for k in range(K)))
    found = grad_cam(model, image, label, layer="tanh")
    np.testing.assert_allclose(found.map, expected, rtol=1e-5, atol=1e-9)
    assert 0 < (expected > 0).mean() < 1  # the formula's max(0, .) is seen to matter


def test_grad_cam_with_global_average_pooling_is_the_class_activation_map():
    """Zhou et al. 2016: then alpha is the class's row of the last weight, divided by the number of cells."""
    mc.seed(0)
    model = nn.Sequential({"conv": nn.Conv2d(1, 4, 3), "relu": nn.ReLU(), "pool": nn.GlobalAvgPool2d(),
                           "fc": nn.Linear(4, 3)})  # fmt: skip
    x = np.random.default_rng(0).random((7, 6, 1), np.float32)
    with mc.no_grad():
        A = model.relu(model.conv(mc.tensor(x[np.newaxis]))).numpy()[0]
    for label in range(3):
        found = grad_cam(model, x, label)
        assert found.layer == "relu"
        expected = sum(model.fc.weight.data[k, label] / 20 * A[..., k] for k in range(4))
        np.testing.assert_allclose(found.map, expected.clip(0), rtol=1e-4, atol=1e-7)


def test_grad_cam_of_a_layer_by_name():
    model = nn.Sequential(
        {"a": nn.Conv2d(1, 2, 3), "b": nn.Conv2d(2, 2, 3), "flat": nn.Flatten(), "fc": nn.Linear(None, 2)}
    )
    x = np.random.default_rng(0).random((8, 8, 1), np.float32)
    assert grad_cam(model, x).layer == "b"
    assert grad_cam(model, x, layer="a").map.shape == (6, 6)
    with pytest.raises(ValueError, match=r"expected a layer that makes maps .* flat makes \(1, 32\): name one before"):
        grad_cam(model, x, layer="flat")
    with pytest.raises(ValueError, match="grad_cam knows no layer 'c'"):
        grad_cam(model, x, layer="c")


def test_what_cannot_be_attributed_is_refused(image):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).to(dtype="float64")
    with pytest.raises(ValueError, match="grad_cam found no convolution"):
        grad_cam(flat, image)
    for wrong in (2, -1, 0.5, True):
        with pytest.raises(ValueError, match=r"saliency expected a label from 0 to 1, got"):
            saliency(flat, image, wrong)
    with pytest.raises(ValueError, match=r"one image \(H, W, C\), got shape \(2, 5, 6, 2\)"):
        saliency(flat, np.stack([image, image]))
    with pytest.raises(ValueError, match=r"scores \(1, K\) for one image, got \(1, 3, 4, 1\)"):
        saliency(nn.Conv2d(2, 1, 3).to(dtype="float64"), image)


def test_a_model_that_leaves_the_graph_is_refused(image):
    class Leaves(nn.Module):
        def forward(self, x):
            return mc.tensor(x.numpy()).sum(axis=(1, 2))

    with pytest.raises(ValueError, match="do not depend on the image by way of minicnn's Functions"):
        saliency(Leaves(), image)
