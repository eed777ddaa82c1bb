"""Whole networks: a graph of what a model computes, made smaller, planned, and run in one go.

A `Graph` says what is computed, in the vocabulary of ONNX's newest operator set, and holds no sizes. A `Network` plans
it for the shapes it is given and runs the plan. Models make theirs with `Module.prepare`::

    network = model.prepare()
    y = network(x)
"""

# Importing them enters their rows in OPS; as names they are no part of the package.
from . import (
    arrays,
    attention,
    elements,
    images,
    letters,
    maps,
    normal,
    numbers,
    picking,
    products,
    recurrent,
    reducing,
    signals,
    windows,
)
from .ir import Graph, Node, Value
from .network import Network
from .passes import optimise
from .table import OPS, Info, Op, op
from .trace import trace

__all__ = ["OPS", "Graph", "Info", "Network", "Node", "Op", "Value", "op", "optimise", "trace"]
del arrays, attention, elements, images, letters, maps, normal
del numbers, picking, products, recurrent, reducing, signals, windows
