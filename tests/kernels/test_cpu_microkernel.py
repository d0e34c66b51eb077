"""The micro-kernel as machine code: for each kind of register its loop over k keeps every sum in a register.

The code is written for other processors than this one, and read, not run: a shape that asks for more registers than
there are would still compute the product, several times slower.
"""

import re
from types import SimpleNamespace

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from minicnn.kernels.cpu import microkernel, vectors

PROCESSORS = [
    ("zmm", "x86_64-unknown-linux-gnu", "znver4"),
    ("ymm", "x86_64-unknown-linux-gnu", "haswell"),
    ("xmm", "x86_64-unknown-linux-gnu", "nehalem"),
    (".4s", "aarch64-unknown-linux-gnu", "generic"),
]
EVERY_PROCESSOR = pytest.mark.parametrize(("register", "triple", "processor"), PROCESSORS)
VECTOR = r"%[xyz]mm\d+|\b[qv]\d+"  # a register with several numbers
STACK = r"\(%rsp|\[sp"


@pytest.fixture(autouse=True, scope="module")
def every_target():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def machine(triple, processor):
    return llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3)


def tile_assembly(register, triple, processor, monkeypatch, scattered=False):
    """`multiply_tile` of float32 numbers for that processor, as the lines of its assembly.

    scattered: the left matrix's numbers lie where two arrays say, not at regular distances.
    """
    height, width = microkernel._TILES[register]
    monkeypatch.setattr(vectors, "BYTES", vectors._BYTES[register])
    monkeypatch.setattr(microkernel, "HEIGHT", height)
    number, whole = ir.FloatType().as_pointer(), ir.IntType(64)
    steps = [whole.as_pointer() if scattered else whole] * 2
    kinds = [number, whole, *steps, *[whole] * 2, number, *[whole] * 3, number, *[whole] * 3, ir.IntType(1)]
    kinds += [number, whole]
    module = ir.Module()
    tile = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "tile")
    builder = ir.IRBuilder(tile.append_basic_block())
    # In place of Numba's context, which knows only the processor at hand.
    context = SimpleNamespace(get_abi_sizeof=lambda kind: 4, get_dummy_value=lambda: None)
    microkernel._multiply(width, context, builder, SimpleNamespace(args=kinds), list(tile.args))
    builder.ret_void()
    target, code = machine(triple, processor), llvm.parse_assembly(str(module))
    passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(code, passes)
    return target.emit_assembly(code).splitlines()


def loops(lines):
    """The stretches from a label to a jump back to it, without another label between the two."""
    label = start = None
    for i, line in enumerate(lines):
        if found := re.fullmatch(r"(\.LBB\w+):.*", line):
            label, start = found[1], i
        elif label and re.search(rf"\s{re.escape(label)}$", line):
            yield lines[start : i + 1]


@pytest.mark.parametrize("scattered", [False, True])
@EVERY_PROCESSOR
def test_the_loop_over_k_multiplies_and_stores_no_sum(register, triple, processor, scattered, monkeypatch):
    multiplies = {"zmm": "vfmadd", "ymm": "vfmadd", "xmm": "mulps", ".4s": "fmla"}[register]
    height, width = microkernel._TILES[register]
    found = list(loops(tile_assembly(register, triple, processor, monkeypatch, scattered)))
    assert found
    for loop in found:
        products = [line for line in loop if multiplies in line and re.search(VECTOR, line)]
        assert products
        assert len(products) % (height * width) == 0  # the loop may be unrolled
        spilled = [line for line in loop if re.search(VECTOR, line) and re.search(STACK, line)]
        assert spilled == []


@EVERY_PROCESSOR
def test_a_tile_of_twice_the_height_would_spill(register, triple, processor, monkeypatch):
    """That is what the test above would see."""
    height, width = microkernel._TILES[register]
    monkeypatch.setitem(microkernel._TILES, register, (2 * height, width))
    lines = [line for loop in loops(tile_assembly(register, triple, processor, monkeypatch)) for line in loop]
    assert any(re.search(VECTOR, line) and re.search(STACK, line) for line in lines)


@pytest.mark.parametrize(("register", "triple", "processor"), [*PROCESSORS, (".4s", "arm64-apple-macosx", "apple-m1")])
def test_the_register_is_found_in_the_assembly_of_a_sum(register, triple, processor):
    probe = llvm.parse_assembly(vectors._PROBE)
    assembly = machine(triple, processor).emit_assembly(probe)
    assert next(name for name in vectors._BYTES if name in assembly) == register
