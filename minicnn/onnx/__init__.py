"""Networks as ONNX files, which other libraries read and write: `mc.export_onnx`, `mc.import_onnx`."""

from .export import export_onnx
from .importing import import_onnx

__all__ = ["export_onnx", "import_onnx"]
