"""Files of torch.save read without PyTorch: what they hold, and everything that they could lie about."""

import io
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from weight_files import Opcodes, call, legacy_file, named, pickled, push, storage, tensor, zip_file

from minicnn import weights
from minicnn.weights import pickled as machine
from minicnn.weights import pth

NUMBERS = np.arange(12, dtype="<f4")
RAW = {"0": NUMBERS.tobytes()}
FORMATS = [zip_file, legacy_file]
every_format = pytest.mark.parametrize("write", FORMATS)


def read(write, path, value, storages=RAW, **settings):
    return weights.read_weights(write(path / "a.pth", pickled(value), storages, **settings))


def refused(said, write, path, value, storages=RAW, **settings):
    with pytest.raises(ValueError, match=said) as caught:
        read(write, path, value, storages, **settings)
    assert str(caught.value).startswith(f"{path / 'a.pth'} cannot be read: ")
    assert len(str(caught.value)) < 700


@every_format
def test_an_array_is_its_storage_seen_through_offset_and_strides(tmp_path, write):
    views = {"whole": ((3, 4), (4, 1), 0), "turned": ((4, 3), (1, 4), 0), "part": ((2, 2), (4, 1), 5),
             "every second": ((6,), (2,), 1), "number": ((), (), 7), "none": ((0, 4), (4, 1), 0),
             "along one nobody steps": ((1, 3), (2**63 - 1, 1), 2)}  # fmt: skip
    arrays = read(write, tmp_path, {name: tensor(*view) for name, view in views.items()})
    assert list(arrays) == list(views)
    for name, (size, stride, offset) in views.items():
        assert arrays[name].shape == size
        assert arrays[name].dtype == np.float32
        for index in np.ndindex(size):
            assert arrays[name][index] == NUMBERS[offset + sum(i * s for i, s in zip(index, stride, strict=True))]


KINDS = {"Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1",
         "Byte": "u1", "Bool": "?"}  # fmt: skip


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("kind", KINDS)
@every_format
def test_every_kind_of_number_in_both_orders_of_bytes(tmp_path, write, kind, order):
    numbers = np.array([0, 1, 0, 1, 1] if kind == "Bool" else [0, 1, 5, 100, 127], KINDS[kind])
    raw = {"x": numbers.astype(numbers.dtype.newbyteorder("<" if order == "little" else ">")).tobytes()}
    value = {"w": tensor((5,), (1,), key="x", count=5, kind=f"torch.{kind}Storage")}
    if write is zip_file:
        got = read(write, tmp_path, value, raw, more=[("archive/byteorder", order)])
    else:
        got = read(write, tmp_path, value, raw, itemsize=numbers.itemsize, little_endian=order == "little")
    assert got["w"].dtype == KINDS[kind]
    np.testing.assert_array_equal(got["w"], numbers)


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    exact = np.array([1.0, -2.5, 3.140625, 2.0**100, np.inf], np.float32)
    halves = exact.view(np.uint32) >> 16
    value = {"w": tensor((5,), (1,), count=5, kind="torch.BFloat16Storage")}
    got = read(zip_file, tmp_path, value, {"0": halves.astype("<u2").tobytes()})
    assert got["w"].dtype == np.float32
    np.testing.assert_array_equal(got["w"], exact)


@every_format
def test_older_and_other_ways_to_write_a_tensor(tmp_path, write):
    parameter = call("torch._utils._rebuild_parameter", tensor(), True, call("collections.OrderedDict"))
    old = call("torch._utils._rebuild_tensor", storage(), 0, (3, 4), (4, 1))
    sized = call("torch._utils._rebuild_tensor_v2", storage(), 0, call("torch.Size", (3, 4)), (4, 1), False, None)
    gpu = tensor(kind="torch.cuda.FloatStorage")
    pairs = [["a", parameter], ["b", old], ["c", sized], ["d", gpu]]  # as Python 2 writes an OrderedDict
    arrays = read(write, tmp_path, call("collections.OrderedDict", pairs))
    for name in "abcd":
        np.testing.assert_array_equal(arrays[name], NUMBERS.reshape(3, 4))


def test_strings_of_python_2_memo_and_attributes(tmp_path):
    program = b"\x80\x02" + named("collections.OrderedDict") + b")Rq\x00(U\x01w" + tensor() + b"q\x05U\x01vh\x05u"
    program += push({"_metadata": {}}) + b"b."
    arrays = weights.read_weights(zip_file(tmp_path / "a.pth", program, RAW))
    assert list(arrays) == ["w", "v"]
    np.testing.assert_array_equal(arrays["v"], NUMBERS.reshape(3, 4))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
@every_format
def test_the_weights_in_a_checkpoint_of_training(tmp_path, write, key):
    both = {"0": RAW["0"], "1": RAW["0"][::-1]}
    value = {
        "epoch": 3,
        "best": 0.5,
        "optimizer": {"state": {0: {"m": tensor(key="1")}}, "lr": [0.1]},
        key: {"w": tensor()},
    }
    np.testing.assert_array_equal(read(write, tmp_path, value, both)["w"], NUMBERS.reshape(3, 4))


# What a file could lie about

LIES = {
    "ends behind the storage": ((3, 4), (4, 1), 1),
    "begins behind it": ((1,), (1,), 12),
    "a stride too long": ((3, 4), (5, 1), 0),
    "more numbers than there are": ((13,), (0,), 0),
    "a terabyte of one number": ((1 << 38,), (0,), 0),
    "more than 64 bits": ((1 << 40, 1 << 40), (0, 0), 0),
    "strides for other axes": ((3, 4), (4,), 0),
    "many axes": ((1,) * 32, (1,) * 31, 0),
}


@pytest.mark.parametrize("lie", LIES)
@every_format
def test_an_array_outside_of_its_storage_is_refused(tmp_path, write, lie):
    refused(r"w: shape .* lead out of its storage of 12 numbers", write, tmp_path, {"w": tensor(*LIES[lie])})


def test_an_empty_array_may_claim_any_place(tmp_path):
    assert read(zip_file, tmp_path, {"w": tensor((0, 5), (1, 1 << 40), 1 << 40)})["w"].shape == (0, 5)


@pytest.mark.parametrize("number", [-1, 1 << 63, True, 1.5, "3", None, ("a",)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_size_stride_or_offset_is_a_whole_number_from_0(tmp_path, place, number):
    view = [(3, 4), (4, 1), 0]
    view[place] = number if place == 2 else (number, 1)
    refused("where a size, a stride or an offset should be", zip_file, tmp_path, {"w": tensor(*view)})


def test_a_storage_is_as_long_as_it_says(tmp_path):
    lie = {"w": tensor(count=13)}
    refused("w: its storage should hold 13 numbers, and there are 12", zip_file, tmp_path, lie)
    refused("w: its storage should hold 13 numbers, and there are 12", legacy_file, tmp_path, lie)
    refused("a size, a stride or an offset", zip_file, tmp_path, {"w": tensor(count=-1)})
    refused("no item named 'archive/data/7'", zip_file, tmp_path, {"w": tensor(key="7")})
    refused("no list of the storages", legacy_file, tmp_path, {"w": tensor(key="7")})
    refused("no list of the storages", legacy_file, tmp_path, {"w": tensor()}, keys=[0])
    huge = legacy_file(tmp_path / "a.pth", pickled({"w": tensor()}), {"0": b""})
    huge.write_bytes(huge.read_bytes()[:-8] + (1 << 60).to_bytes(8, "little"))
    with pytest.raises(ValueError, match="a storage of 1152921504606846976 numbers, and 0 bytes are left"):
        weights.read_weights(huge)


@every_format
def test_truncations_are_refused(tmp_path, write):
    path = write(tmp_path / "a.pth", pickled({"w": tensor()}), RAW)
    content = path.read_bytes()
    for length in [*range(0, len(content), 5), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cannot be read"):
            weights.read_weights(path)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # Python's, of strings in a pickle
@every_format
def test_a_changed_byte_is_refused_or_harmless(tmp_path, write):
    """Nothing but a ValueError comes out, and no array outside of the file's bytes."""
    rng = np.random.default_rng(0)
    path = write(tmp_path / "a.pth", pickled({"w": tensor(), "v": tensor((2, 3), (3, 2), 1)}), RAW)
    content = path.read_bytes()
    outcomes = set()
    for _ in range(250):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            arrays = weights.read_weights(path)
        except ValueError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            # Every number is looked at: one outside of the file would end the process, or be there twice.
            assert all(array.size <= len(RAW["0"]) and array.copy().size == array.size for array in arrays.values())
    assert outcomes == {"refused", "read"}


# Programs


class Evil:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("how", ["plain", "zip", "legacy"])
def test_a_pickle_that_calls_os_system_is_refused_by_name(tmp_path, how, protocol):
    mark = tmp_path / "it ran"
    program = pickle.dumps({"w": Evil(os.system, f"touch '{mark}'")}, protocol)
    path = tmp_path / "a.pth"
    if how == "plain":
        path.write_bytes(program)
    else:
        {"zip": zip_file, "legacy": legacy_file}[how](path, program, RAW)
    with pytest.raises(ValueError, match=f"refused: its pickle would call {os.system.__module__}.system"):
        weights.read_weights(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "builtins.getattr", "torch.load", "torch._utils._rebuild_tensor_v3",
             "torch.hub.load", "collections.OrderedDict.update", "numpy.core.multiarray._reconstruct",
             "torch.nn.modules.linear.Linear", "argparse.Namespace", "torch.FloatStorage.from_file"]
)  # fmt: skip
@every_format
def test_no_other_name_is_looked_up(tmp_path, write, name):
    refused(f"would call {name}", write, tmp_path, {"w": tensor(), "x": Opcodes(named(name))})
    program = b"\x80\x04" + push(name.rpartition(".")[0]) + push(name.rpartition(".")[2]) + b"\x93)R."
    with pytest.raises(ValueError, match=f"would call {name}"):
        weights.read_weights(write(tmp_path / "b.pth", program, RAW))


STRANGE = {
    "a storage type called": call("torch.FloatStorage", 10**9),
    "a size of no tuple": call("torch.Size", 5),
    "a size of nothing": call("torch.Size"),
    "an OrderedDict of a number": call("collections.OrderedDict", 5),
    "an OrderedDict of triples": call("collections.OrderedDict", [["a", 1, 2]]),
    "a parameter of a number": call("torch._utils._rebuild_parameter", 3),
    "a tensor of a dict": call("torch._utils._rebuild_tensor_v2", {}, 0, (1,), (1,)),
    "a tensor of little": call("torch._utils._rebuild_tensor_v2", storage()),
    "a size of a dict": call("torch._utils._rebuild_tensor_v2", storage(), 0, {}, (1,)),
    "a call of a number": Opcodes(push(3) + push(()) + b"R"),
    "arguments in a list": Opcodes(named("torch.Size") + push([]) + b"R"),
    "a storage of two": Opcodes(push(("storage", 3)) + b"Q"),
    "a storage of another kind": Opcodes(push(("module", "torch.FloatStorage", "0", "cpu", 1)) + b"Q"),
    "a storage of a name": Opcodes(push("storage") + b"Q"),
    "a storage with a numbered key": storage(key=0),
    "a view of a storage": storage(more=(("k", 0, 3),)),
    "a hundred axes": tensor((1,) * 100, (1,) * 100),
    "attributes of a number": Opcodes(push(3) + push({}) + b"b"),
    "an item of a tuple": Opcodes(push(()) + push(3) + b"a"),
    "a key that is a list": Opcodes(b"}" + push([]) + push(3) + b"s"),
    "a key that is a tuple": {"a": 1, ("b",): 2},
    "an item of nothing": Opcodes(b"0"),
    "an unknown object": Opcodes(b"h\x63"),
    "a mark that is not there": Opcodes(b"t"),
    "an object of a class": Opcodes(named("torch.Size") + b")\x81"),
    "a numbered class": Opcodes(b"\x82\x01"),
    "an unknown opcode": Opcodes(b"\xff"),
}


@pytest.mark.parametrize("name", STRANGE)
@every_format
def test_known_names_with_strange_arguments_are_refused(tmp_path, write, name):
    refused(
        "damaged|refused|should be|save it anew|at most 32 axes", write, tmp_path, {"w": tensor(), "x": STRANGE[name]}
    )


@pytest.mark.parametrize("value", [3, "w", [tensor()], {}, {"w": 3}, {"w": tensor(), "x": None}, tensor(),
                                   {"model": {}}, {"state_dict": {"x": 1}}])  # fmt: skip
@every_format
def test_what_is_no_dict_of_arrays_is_refused(tmp_path, write, value):
    storages = RAW if b"FloatStorage" in push(value) else {}
    refused(r"expected a dict of arrays by name.*save model\.state_dict\(\)", write, tmp_path, value, storages)


def test_nothing_grows_with_what_a_pickle_claims(tmp_path):
    """In a process of little memory: a memo of four billion places, a string of an exabyte, tuples in tuples."""
    programs = {
        "memo": b"\x80\x02}r\xff\xff\xff\xff.",
        "string": b"\x80\x04\x8d" + (1 << 60).to_bytes(8, "little") + b"a.",
        "bytes": b"\x80\x05\x96" + (1 << 60).to_bytes(8, "little") + b"a.",
        "nest": b"\x80\x02)" + b"q\x00h\x00\x86" * 100 + b"}h\x00K\x01s.",  # a hash of 2**100 steps
        "one long list in many pairs": b"\x80\x02]("
        + b"N" * 300_000
        + b"eq\x00ccollections\nOrderedDict\n]("
        + b"h\x00" * 300_000
        + b"e\x85R.",
        "nest, shown": b"\x80\x02)" + b"q\x00h\x00\x86" * 100 + b".",
        "nest as a size": pickled({"w": tensor(size=Opcodes(b")" + b"q\x00h\x00\x86" * 100))}),
    }
    for name, program in programs.items():
        zip_file(tmp_path / f"{name}.pth", program, RAW)
    code = (
        "import resource, sys, pathlib; from minicnn import weights\n"
        "import minicnn.weights.pth, minicnn.weights.safetensors_file\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: weights.read_weights(path)\n"
        "    except ValueError: print(path.stem)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.split("\n")[:-1]) == sorted(programs), done.stderr


@every_format
def test_a_pickle_longer_than_names_and_shapes_are_is_refused(tmp_path, write, monkeypatch):
    assert machine.LIMIT == pth.LIMIT == 4 << 20
    for module in (machine, pth):
        monkeypatch.setattr(module, "LIMIT", 5000)
    refused("longer than 5000 bytes", write, tmp_path, {"w": "a" * 5000, "x": tensor()})
    refused("longer than 5000 bytes", write, tmp_path, Opcodes(push({"w": tensor()}) + b"N" * 5000))


# Archives


def test_archives_that_pytorch_does_not_write_are_refused(tmp_path):
    value = {"w": tensor()}
    refused("data.pkl is compressed or encrypted", zip_file, tmp_path, value, method=zipfile.ZIP_DEFLATED)
    refused("not of PyTorch: expected one member NAME/data.pkl", zip_file, tmp_path, value, root="a/b")
    refused("expected one member", zip_file, tmp_path, value, more=[("other/data.pkl", b"N.")])
    with pytest.warns(UserWarning, match="Duplicate name"):
        refused("two members of the archive have one name", zip_file, tmp_path, value, more=[("archive/data/0", b"")])


def test_an_archive_whose_members_overlap_is_refused(tmp_path):
    """A hundred entries of the directory that point to the same bytes."""
    path = zip_file(tmp_path / "a.pth", pickled({"w": tensor()}), {f"{i:03}": RAW["0"] * 10 for i in range(100)})
    with zipfile.ZipFile(path) as archive:
        place = {info.filename: info.header_offset for info in archive.infolist()}
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    for i in range(1, 100):
        content = content[:directory] + content[directory:].replace(
            place[f"archive/data/{i:03}"].to_bytes(4, "little") + f"archive/data/{i:03}".encode(),
            place["archive/data/000"].to_bytes(4, "little") + f"archive/data/{i:03}".encode(),
        )
    hole = content[: place["archive/data/001"]] + content[place["archive/version"] :]
    gone = len(content) - len(hole)
    end = hole.rindex(b"PK\x05\x06")
    begin = int.from_bytes(hole[end + 16 : end + 20], "little") - gone
    path.write_bytes(hole[: end + 16] + begin.to_bytes(4, "little") + hole[end + 20 :])
    with pytest.raises(ValueError, match="the members of the archive overlap"):
        weights.read_weights(path)


def test_damaged_numbers_do_not_pass(tmp_path):
    path = zip_file(tmp_path / "a.pth", pickled({"w": tensor()}), RAW)
    content = path.read_bytes()
    place = content.index(RAW["0"]) + 20
    path.write_bytes(content[:place] + b"\x99" + content[place + 1 :])
    with pytest.raises(ValueError, match=r"damaged or truncated .*CRC"):
        weights.read_weights(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 600, b"<!DOCTYPE html><html>", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x80", b"cos", b"\x80\x02."],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pth cannot be read: (it|the zip archive is damaged)"):
        weights.read_weights(path)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        weights.read_weights(tmp_path / "nowhere.pth")
    with pytest.raises(IsADirectoryError, match="test_no_file"):
        weights.read_weights(tmp_path)


# PyTorch itself


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("as_zip", [True, False])
def test_what_pytorch_saves(tmp_path, as_zip, protocol):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    base = torch.randn(4, 5, 6)
    values = {
        "base": base, "view": base[1:, ::2].transpose(0, 2), "half": base.half(), "brain": base.bfloat16(),
        "double": base.double(), "long": torch.arange(5), "byte": torch.arange(5, dtype=torch.uint8),
        "bool": base > 0, "number": torch.tensor(3), "empty": torch.empty(0, 3), "parameter": torch.nn.Parameter(base),
    }  # fmt: skip
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = net.state_dict()
    state.update(values)
    path = tmp_path / "a.pth"
    torch.save(state, path, _use_new_zipfile_serialization=as_zip, pickle_protocol=protocol)
    arrays = weights.read_weights(path)
    assert list(arrays) == list(state)
    for name, value in state.items():
        expected = (value.float() if name == "brain" else value).detach().numpy()
        assert arrays[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(arrays[name], expected, err_msg=name)


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_whole_module_of_pytorch_is_refused(tmp_path, as_zip):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "a.pth", _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear.*save model\.state_dict\(\) alone"):
        weights.read_weights(tmp_path / "a.pth")


def test_the_files_made_by_hand_are_those_of_pytorch(tmp_path):
    """The oracle of this file, held against PyTorch's own reader."""
    torch = pytest.importorskip("torch")
    for write, more in ((zip_file, ()), (legacy_file, (None,))):
        value = {"w": tensor(more=more), "v": tensor((2, 2), (4, 1), 5, more=more)}
        theirs = torch.load(io.BytesIO(write(tmp_path / "a.pth", pickled(value), RAW).read_bytes()), weights_only=True)
        np.testing.assert_array_equal(theirs["w"], NUMBERS.reshape(3, 4))
        np.testing.assert_array_equal(theirs["v"], [[5, 6], [9, 10]])
