"""Data sets of labelled images, and the loader that makes batches of them."""

from minicnn.data import transforms
from minicnn.data.array_files import file_dataset
from minicnn.data.batch import to_input
from minicnn.data.cifar import cifar10, cifar100
from minicnn.data.datasets import ArrayDataset
from minicnn.data.drawing import normalized_digit
from minicnn.data.idx import read_idx
from minicnn.data.image_folder import ImageFolder
from minicnn.data.loader import DataLoader
from minicnn.data.mnist_family import fashion_mnist, kmnist, mnist
from minicnn.data.photos import imagenet_classes, read_photo

__all__ = [
    "ArrayDataset",
    "DataLoader",
    "ImageFolder",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "file_dataset",
    "imagenet_classes",
    "kmnist",
    "mnist",
    "normalized_digit",
    "read_idx",
    "read_photo",
    "to_input",
    "transforms",
]
