"""To look inside: the graph as text and as a picture, and a backward pass step by step."""

from .graph import Graph, Vertex, graph
from .trace import Step, Steps, steps

__all__ = ["Graph", "Step", "Steps", "Vertex", "graph", "steps"]
