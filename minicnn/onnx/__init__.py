"""Networks as ONNX files, which other libraries read: `mc.export_onnx(model, "model.onnx")`."""

from .export import export_onnx

__all__ = ["export_onnx"]
