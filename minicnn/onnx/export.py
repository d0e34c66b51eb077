"""Writing a model as an ONNX file: the one function that a user calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._files import PathLike, check_place, write_whole
from ..graph import trace
from ..graph.inference import simplified
from ..graph.network import INPUT, Graph
from ..nn import Module
from .writer import NCHW, Writer

OPSET = 13  # of 2020, the first in which every operation needed here means what it means today
IR_VERSION = 7  # the file format that goes with it: readers refuse a file that is newer than they are


def export_onnx(model: Module, path: PathLike, input_shape: Sequence[int] | None = None) -> None:
    """Write a model as an ONNX file that computes what the model computes in evaluation mode.

    model: any Module whose operations have a translation; a Graph, as `optimize_for_inference` makes it, too.
    path: of the file, like "resnet50.onnx". It is written beside its place and renamed.
    input_shape: of one sample, without the axis N; None for the model's own.

    The file follows ONNX's conventions. Images are (N, C, H, W), in the input "x" and, where the result has four axes,
    in the output too, which is called as the Module that makes it. N is free. Convolution weights are (O, C // groups,
    KH, KW), those of fully connected layers (out, in), all float32 under the names that they have in the model; a
    flattened image keeps this engine's order (H, W, C), by a transpose before it. Opset 13.

    Raises ImportError where the package onnx is missing, what `trace` raises, NotImplementedError, naming the Module,
    for an operation without translation, and OSError, naming the path, where the file cannot be written.
    """
    check_place(path, "the ONNX file")
    onnx = _package()
    graph = simplified(trace(model, input_shape))
    write_whole(path, _as_onnx(graph, onnx).SerializeToString(), "the ONNX file")


def _package() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError('export_onnx needs the package onnx: pip install "minicnn[onnx]"', name="onnx") from error
    return onnx


def _as_onnx(graph: Graph, onnx: Any) -> Any:
    """The Graph as an onnx.ModelProto."""
    from .array_translations import ARRAYS  # here: `import minicnn` should not wait for them
    from .layer_translations import LAYERS

    writer = Writer(graph, onnx)
    translations = {**LAYERS, **ARRAYS}
    for node in graph.nodes:
        if type(node.operation) not in translations:
            raise NotImplementedError(
                f"export_onnx has no translation for {node.operation.name}, which "
                f"{node.module or 'the model itself'} computes: use another operation, or add a translation to "
                "minicnn/onnx/array_translations.py"
            )
        writer.write(node, translations[type(node.operation)])
    shape = graph.shapes()[graph.output]
    output = writer.tensor(graph.output, NCHW if len(shape) == 4 else tuple(range(len(shape))))
    if output == INPUT:
        output = writer.emit("Identity", [INPUT])
    parts = writer.nodes, "minicnn", [_declared(onnx, INPUT, (1, *graph.input_shape))]
    body = onnx.helper.make_graph(*parts, [_declared(onnx, output, shape)], initializer=writer.initializers)
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(body, opset_imports=[opset], ir_version=IR_VERSION, producer_name="minicnn")


def _declared(onnx: Any, name: str, shape: tuple[int, ...]) -> Any:
    """An input or output, whose first axis is free."""
    sizes = [shape[i] for i in NCHW] if len(shape) == 4 else shape
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *sizes[1:]])
