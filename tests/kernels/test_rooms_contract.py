"""Every room has the kernels of the reference, with the same parameters."""

import importlib
import inspect

import pytest

from minicnn.kernels import reference

OTHERS = ["cpu", "cuda"]


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def differences(room):
    """What a room lacks, has too much or calls differently, in words."""
    lacking = [f"{name} is missing" for name in reference.__all__ if not inspect.isfunction(getattr(room, name, None))]
    public = {name for name, value in vars(room).items() if inspect.isfunction(value) and not name.startswith("_")}
    surplus = [f"{name} is no kernel of the reference" for name in sorted(public - set(reference.__all__))]
    if sorted(room.__all__) != sorted(reference.__all__):
        surplus.append("__all__ is not that of the reference")
    both = [name for name in reference.__all__ if inspect.isfunction(getattr(room, name, None))]
    return (
        lacking
        + surplus
        + [
            f"{name}{inspect.signature(getattr(room, name))} is {name}{inspect.signature(getattr(reference, name))}"
            for name in both
            if parameters(getattr(room, name)) != parameters(getattr(reference, name))
        ]
    )


def test_the_reference_has_kernels():
    assert len(reference.__all__) > 40


@pytest.mark.parametrize("name", OTHERS)
def test_a_room_has_every_kernel_with_the_same_parameters(name):
    assert differences(importlib.import_module(f"minicnn.kernels.{name}")) == []


def test_a_missing_a_surplus_and_a_renamed_kernel_are_noticed():
    room = type(reference)("room")
    room.__dict__.update({name: getattr(reference, name) for name in reference.__all__})
    room.__all__ = list(reference.__all__)
    assert differences(room) == []
    del room.im2col
    room.relu_forward = lambda y: y
    room.extra = lambda: None
    assert [line.split("(")[0].split()[0] for line in differences(room)] == ["im2col", "extra", "relu_forward"]
