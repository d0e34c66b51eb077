"""Data sets of labelled images, and the loader that makes batches of them."""

from minicnn.data.cifar import cifar10
from minicnn.data.datasets import ArrayDataset, fashion_mnist, mnist
from minicnn.data.drawing import normalized_digit
from minicnn.data.idx import read_idx
from minicnn.data.loader import DataLoader, to_input
from minicnn.data.photos import imagenet_classes, read_photo

__all__ = [
    "ArrayDataset",
    "DataLoader",
    "cifar10",
    "fashion_mnist",
    "imagenet_classes",
    "mnist",
    "normalized_digit",
    "read_idx",
    "read_photo",
    "to_input",
]
