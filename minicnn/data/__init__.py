"""Data sets of labelled images, and the loader that makes batches of them."""

from minicnn.data.cifar import cifar10
from minicnn.data.datasets import ArrayDataset, fashion_mnist, mnist
from minicnn.data.idx import read_idx
from minicnn.data.loader import DataLoader, to_input

__all__ = ["ArrayDataset", "DataLoader", "cifar10", "fashion_mnist", "mnist", "read_idx", "to_input"]
