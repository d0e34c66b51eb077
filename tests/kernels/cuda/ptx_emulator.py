"""What NVRTC makes of the CUDA kernels, on the CPU: their PTX, with a statement in C++ for each instruction.

    module = PtxEmulator().compile("softmax", ("-DREAL=float", "-DWIDE=float"))

The emulator that it stands on runs the .cu files as g++ understands them, and has functions of its own in the place of
the instructions in ptx.cuh. Here NVIDIA's compiler has the word, with CuPy's options, and its instructions are what
runs, with arrays, shared memory, barriers and warps as there. What this finds on top of it:

    a wrong instruction or operand in ptx.cuh       it does what the PTX ISA says of it
    an order that the compiler may change           it has
    what g++ and NVRTC understand differently       structs as arguments, types, functions of CUDA
    numbers too small for a normal float            they are zeros
    a write to what was promised to be constant     `const* __restrict__` is read by way of a cache that knows no writes

What it cannot do: what comes after PTX, which is the assembler's choice of instructions and registers.
"""

import functools
import re
from importlib.metadata import PackageNotFoundError
from unittest import SkipTest

import nvrtc
from emulator import Emulator, Module, library

from minicnn.kernels.cuda._launch import source

HEADER = re.compile(r"\.(entry|func) +(?:\(([^)]*)\) +)?(\w+)\s*\(([^)]*)\)[^{;]*\{")
PARAMETER = re.compile(r"\.param (?:\.align \d+ )?\.([a-z])(\d+)[^,]*? (\w+)(?:\[(\d+)\])?")
OWN = re.compile(r"^\s*\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\];", re.MULTILINE)
ASKED = re.compile(r"^\.extern \.shared \.align \d+ \.b8 (\w+)\[\];", re.MULTILINE)
TYPE = re.compile(r"[usbf](?:8|16|32|64)|pred|tf32")
REGISTER = re.compile(r"%?(\w+)(\.[xyz])?")
SPACES = {"global": "ptx::Global()", "param": "ptx::Parameters()", "shared": "own"}
# Instructions whose variants of all types are one function.
SAME = {"add", "sub", "mul", "div", "rem", "neg", "abs", "min", "max", "and", "or", "xor", "not", "bfi", "fma", "sqrt",
        "rcp", "copysign", "ex2"}  # fmt: skip
COORDINATES = {"tid": "threadIdx", "ntid": "blockDim", "ctaid": "blockIdx", "nctaid": "gridDim"}
EXPORT = """\
extern "C" const char *parameters_of_{name}() {{ return "{kinds}"; }}
extern "C" bool run_{name}(const unsigned *grid, const unsigned *block, void *memory, size_t bytes, unsigned order,
                           void **arguments) {{
  return ptx::run({name}, grid, block, memory, bytes, order, arguments);
}}"""


class PtxEmulator(Emulator):
    """In the place of the GPU: compiles files with NVRTC."""

    def __init__(self, order=0):
        super().__init__(order)
        try:
            nvrtc.library()
        except PackageNotFoundError:
            raise SkipTest(nvrtc.MISSING) from None

    def compile(self, file, options):
        """The module of one .cu file."""
        return Module(compiled(self.text(file), options, self.capability), self)

    def text(self, file):
        """A file and what it includes, as on a GPU."""
        return source(f"{file}.cu", nvrtc.FOLDERS)


@functools.cache
def compiled(text, options, capability):
    """The library of a source, and the names of its kernels."""
    text, names = in_cpp(nvrtc.Nvrtc(f"compute_{capability}").ptx(text, options))
    return library(text, ("-fwrapv", "-Og")), names  # with -O2 it would take seven times as long


def in_cpp(ptx):
    """A file of PTX in C++, and the names of its kernels."""
    symbols, size = dict.fromkeys(ASKED.findall(ptx), "ptx::DYNAMIC"), 0
    for align, name, more in dict.fromkeys(OWN.findall(ptx)):
        size += -size % int(align)
        symbols[name], size = str(size), size + int(more)
    names, lines = [], ['#include "ptx_emulator.h"', f"static ptx::Own<{size}> own;"]
    for function in sorted(HEADER.finditer(ptx), key=lambda found: found[1] == "entry"):
        kind, result, name, taken = function.groups()
        parameters = PARAMETER.findall(f"{result},{taken}" if result else taken)
        made = Function(symbols | {parameter: f"(u64){parameter}" for *_, parameter, _ in parameters})
        body = made.statements(block(ptx, function.end()))
        if kind == "func":
            lines += [f"static void {name}({', '.join(f'u8 *{each}' for *_, each, _ in parameters)}) {{", *body, "}"]
            continue
        names.append(name)
        lines.append(f"static void {name}(void **arguments) {{")
        lines += [f"u8 *{each} = (u8 *)arguments[{i}];" for i, (*_, each, _) in enumerate(parameters)]
        lines += [*body, "}", EXPORT.format(name=name, kinds="".join(f"{taken_as(*each)}," for each in parameters))]
    return "\n".join(lines), tuple(names)


def taken_as(letter, bits, _, count):
    """A parameter as the emulator describes it; what a pointer points to PTX does not say."""
    if count:
        return f"S{count}"
    return "P0" if letter + bits == "u64" else f"{'f' if letter == 'f' else 'i'}{int(bits) // 8}"


def block(text, start):
    """What follows up to the brace that closes what is open there."""
    depth = 1
    for brace in re.compile("[{}]").finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[start : brace.start()]
    raise ValueError("a function without an end")


class Function:
    """One function of PTX; `symbols` are the names that stand for addresses, as they are in C++."""

    def __init__(self, symbols):
        self.symbols = symbols

    def statements(self, body):
        """Its lines in C++."""
        text = re.sub(r"//.*", "", body)
        text = re.sub(r"^\s*\$(\w+):", r"label \1;", text, flags=re.MULTILINE)
        text = re.sub(r"(^|;)\s*([{}])", r"\1\2;", text, flags=re.MULTILINE)  # of a scope; other braces are vectors
        lines = (" ".join(line.split()) for line in text.split(";"))
        return [self.statement(line) for line in lines if line]

    def statement(self, line):
        """A brace, a label, a declaration or an instruction."""
        first, _, rest = line.partition(" ")
        if line in ("{", "}"):
            return line
        if first == "label":
            return f"{rest}:;"
        if first in (".pragma", ".shared"):  # of shared memory `in_cpp` knows
            return ""
        if first == ".reg":
            return self.registers(*rest.split(" ", 1))
        if first == ".param":  # what a call gives or returns
            bits, name = re.fullmatch(r"\.[a-z](\d+) (\w+)", rest).groups()
            self.symbols[name] = f"(u64){name}"
            return f"alignas(8) u8 {name}[{int(bits) // 8}];"
        if first[0] == "@":
            no = "!" if first[1] == "!" else ""
            return f"if ({no}{register(first[1 + len(no) :])}) {{ {self.statement(rest)} }}"
        return self.instruction(first, re.findall(r"\{[^}]*\}|\[[^]]*\]|\([^)]*\)|[^,\s]+", rest))

    @staticmethod
    def registers(kind, names):
        """Those that nobody has written hold NaN, or -1."""
        many = re.fullmatch(r"%(\w+)<(\d+)>", names)
        names = [f"%{many[1]}{i}" for i in range(int(many[2]))] if many else names.split(", ")
        return " ".join(f"{kind[1:]} {register(name)} = ptx::poison<{kind[1:]}>();" for name in names)

    def instruction(self, op, operands):
        """What one instruction does: `do_...` of its name, or one of the functions of ptx_emulator.h."""
        name, *more = op.split(".")
        kinds = [each for each in more if TYPE.fullmatch(each)]
        special = getattr(self, f"do_{name}", None)
        if special:
            return special(op, more, kinds, operands)
        if name in ("mul", "mad") and more[0] in ("lo", "hi", "wide"):
            name = f"{name}_{more[0]}"
        elif name == "div" and kinds[0][0] == "f":
            name = "quotient"
        elif name in ("fma", "rcp") and more[0] in ("rm", "approx"):
            name = f"{name}_{more[0]}"
        elif name not in SAME or {"rz", "rm", "rp", "sat"} & {*more}:
            raise NotImplementedError(f"{op} {', '.join(operands)}")
        return self.called(name, kinds[0], operands, "ftz" in more)

    def called(self, function, kind, operands, ftz=False):
        """d = function(a, b, ...), all of one type."""
        result, *given = operands
        made = f"ptx::{function}_<{kind}>({', '.join(self.value(each, kind, ftz) for each in given)})"
        return give(result, f"ptx::ftz({made})" if ftz else made)

    def value(self, operand, kind, ftz=False):
        """What an instruction takes of an operand, as a type of PTX."""
        if ftz:
            return f"ptx::ftz({self.value(operand, kind)})"
        if operand[0] == "%":
            return f"ptx::taken<{kind}>({register(operand)})"
        if operand[:2] == "0f":
            return f"std::bit_cast<f32>(0x{operand[2:]}u)"
        if operand[:2] == "0d":
            return f"std::bit_cast<f64>(0x{operand[2:]}ull)"
        return f"{kind}({self.symbols.get(operand, operand)})"

    def address(self, operand):
        """What stands in brackets: a register or a name, and perhaps so many bytes behind it."""
        base, _, offset = operand.strip("[]").partition("+")
        return f"u64({register(base) if base[0] == '%' else self.symbols[base]} + ({offset or 0}))"

    def do_mov(self, op, more, kinds, operands):
        results, given = map(vector, operands)
        if len(results) == len(given) == 1:
            return give(results[0], self.value(given[0], kinds[0]))
        part = int(kinds[0][1:]) // max(len(results), len(given))
        if len(results) > 1:
            moves = " ".join(give(each, f"u{part}(all >> {i * part})") for i, each in enumerate(results))
            return f"{{ auto all = {self.value(given[0], kinds[0])}; {moves} }}"
        parts = (f"{kinds[0]}({self.value(each, f'u{part}')}) << {i * part}" for i, each in enumerate(given))
        return give(results[0], f"{kinds[0]}({' | '.join(parts)})")

    def do_ld(self, op, more, kinds, operands):
        function, results = "loaded_constant" if "nc" in more else "loaded", vector(operands[0])
        assert more[-2] == f"v{len(results)}" or len(results) == 1, op
        given = f"{SPACES[more[0]]}, {self.address(operands[1])}"
        moves = " ".join(give(each, f"found[{i}]") for i, each in enumerate(results))
        return f"{{ auto found = ptx::{function}<{kinds[0]}, {len(results)}>({given}); {moves} }}"

    def do_st(self, op, more, kinds, operands):
        given = vector(operands[1])
        assert more[-2] == f"v{len(given)}" or len(given) == 1, op
        place = f"ptx::stored<{kinds[0]}, {len(given)}>({SPACES[more[0]]}, {self.address(operands[0])})"
        moves = " ".join(f"place[{i}] = {self.value(each, kinds[0])};" for i, each in enumerate(given))
        return f"{{ auto place = {place}; {moves} }}"

    def do_setp(self, op, more, kinds, operands):
        return self.called(more[0], kinds[0], operands, "ftz" in more)

    def do_selp(self, op, more, kinds, operands):
        result, yes, no, condition = operands
        return give(result, f"{register(condition)} ? {self.value(yes, kinds[0])} : {self.value(no, kinds[0])}")

    def do_cvta(self, op, more, kinds, operands):
        assert op == "cvta.to.global.u64", op
        return self.do_mov(op, more, kinds, operands)

    def do_cvt(self, op, more, kinds, operands):
        to, taken = kinds
        value = self.value(operands[1], taken, "ftz" in more)
        if to == "tf32":
            assert more[1:] == ["tf32", "f32"], op
            return give(operands[0], f"{ {'rn': 'tf32', 'rna': 'ptx::tf32_away'}[more[0]] }({value})")
        rounding = more[0] if more[0][0] == "r" else "rn"
        function = "whole" if to[0] == taken[0] == "f" and rounding[-1] == "i" else "cvt"
        made = f"ptx::{function}<{to}, '{rounding[1]}'>({value})"
        made = f"ptx::saturated({made})" if "sat" in more else made
        return give(operands[0], f"ptx::ftz({made})" if "ftz" in more else made)

    def do_shl(self, op, more, kinds, operands):
        result, given, by = operands
        return give(result, f"ptx::{op[:3]}_<{kinds[0]}>({self.value(given, kinds[0])}, {self.value(by, 'u32')})")

    do_shr = do_shl

    def do_bra(self, op, more, kinds, operands):
        return f"goto {operands[0].strip('$')};"

    def do_ret(self, op, more, kinds, operands):
        return "return;"

    def do_call(self, op, more, kinds, operands):
        result, name, given = (each.strip("()") for each in operands)
        return f"{name}({', '.join(vector(result) + vector(given))});"

    def do_bar(self, op, more, kinds, operands):
        if op == "bar.warp.sync":
            return f"__syncwarp({self.value(operands[0], 'u32')});"
        assert (op, operands) == ("bar.sync", ["0"]), (op, operands)
        return "__syncthreads();"

    def do_shfl(self, op, more, kinds, operands):
        assert op == "shfl.sync.bfly.b32", op
        (result, _, was_there), *given = operands[0].partition("|"), *operands[1:]
        values = ", ".join(self.value(each, "u32") for each in given)
        return f"{give(result, f'ptx::butterfly({values})')} {give(was_there, 'true')}"

    def do_mma(self, op, more, kinds, operands):
        """By the functions of the tests' ptx.cuh, of which tests of their own say that they are what the ISA says."""
        sums, a, b, before = map(vector, operands)
        assert sums == before, op
        product = {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32": "mma(sums, a, b)",
                   "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32": "mma_f16(sums, a, b[0], b[1])"}[op]  # fmt: skip
        taken = " ".join(
            f"{kind} {name}[] = {{{', '.join(self.value(each, kind) for each in given)}}};"
            for kind, name, given in (("f32", "sums", sums), ("u32", "a", a), ("u32", "b", b))
        )
        return f"{{ {taken} {product}; {' '.join(give(each, f'sums[{i}]') for i, each in enumerate(sums))} }}"

    def do_ldmatrix(self, op, more, kinds, operands):
        transposed = {"ldmatrix.sync.aligned.m8n8.x4.shared.b16": "false",
                      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16": "true"}[op]  # fmt: skip
        moves = " ".join(give(each, f"found[{i}]") for i, each in enumerate(vector(operands[0])))
        row = f"own.at({self.address(operands[1])}, 16)"
        return f"{{ u32 found[4]; load_matrices<{transposed}>(found, {row}); {moves} }}"

    def do_cp(self, op, more, kinds, operands):
        if op == "cp.async.commit_group":
            return "commit_copies();"
        if op == "cp.async.wait_group":
            return f"wait_for_copies<{operands[0]}>();"
        to, taken, size, exists = operands
        assert (op, size) in (("cp.async.ca.shared.global", "4"), ("cp.async.cg.shared.global.L2::128B", "16")), op
        addresses = f"{self.address(to)}, {self.address(taken)}"
        return f"ptx::copy_async({addresses}, {size}, {self.value(exists, 'u32')}, own);"


def register(name):
    """Its name in C++: %f32 is a register, and f32 a type."""
    name, axis = REGISTER.fullmatch(name).groups()
    return f"{COORDINATES[name]}{axis}" if axis else f"{name}_"


def give(result, value):
    """The statement that writes a register."""
    return f"ptx::give({register(result)}, {value});"


def vector(operand):
    """The registers of {a, b}, or a single one."""
    return [each.strip() for each in operand.strip("{}").split(",")]
