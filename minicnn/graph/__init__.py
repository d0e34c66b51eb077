"""A model as a list of operations, to be looked at, rewritten and translated: `from minicnn.graph import trace`."""

from .inference import optimize_for_inference
from .network import Graph, Node
from .recording import trace

__all__ = ["Graph", "Node", "optimize_for_inference", "trace"]
