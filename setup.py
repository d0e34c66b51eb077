"""Maps the top-level folder kernels/ to the subpackage minicnn.kernels; all else stands in pyproject.toml."""

from setuptools import find_packages, setup

kernels = ["minicnn.kernels"] + [f"minicnn.kernels.{name}" for name in find_packages("kernels")]

setup(
    packages=find_packages(include=["minicnn", "minicnn.*"]) + kernels,
    package_dir={"minicnn": "minicnn", "minicnn.kernels": "kernels"},
)
