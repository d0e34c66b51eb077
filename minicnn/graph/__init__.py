"""A model as a list of operations, to be looked at, rewritten and translated: `from minicnn.graph import trace`."""

from .network import Graph, Node
from .recording import trace

__all__ = ["Graph", "Node", "trace"]
