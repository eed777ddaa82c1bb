"""MNN: a session of one layer in float32, made by its converter from an ONNX model.

Input and output are packed by channels, as MNN's layers hand them on to each other: packing is not timed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..._extras import need
from ..._timing import Contender
from ..layers import DEFORMABLE
from ..problem import NotOfferedError, Problem
from ._onnx import model


@contextmanager
def _silent() -> Iterator[None]:
    """The library reports what it does on standard output, which may be somebody's JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


with _silent():
    nn, expr = need("MNN.nn", "bench"), need("MNN.expr", "bench")
    # The converter itself. The command mnnconvert around it installs a package and reports each use over the network.
    converter = need("_tools", "bench")


def build(problem: Problem) -> Contender:
    """The problem's forward call by MNN, which has no gradients."""
    if problem.direction != "forward" or problem.setting.dtype != "float32":
        raise NotOfferedError("MNN computes no gradients, and in float32 alone")
    if problem.layer.kind in DEFORMABLE:
        raise NotOfferedError("MNN has no deformable convolution")
    with _silent():
        module = _module(problem)
        x = problem.operands["x"]
        blob = expr.convert(expr.const(x, x.shape, expr.NCHW), expr.NC4HW4)
        blob.fix_as_const()

    def read(y: Any) -> dict[str, np.ndarray]:
        return {"y": np.array(expr.convert(y, expr.NCHW).read()).reshape(problem.layer.y_shape)}

    return Contender("mnn", lambda: module.forward(blob), read)


def _module(problem: Problem) -> Any:
    settings = {"backend": "CPU", "numThread": problem.setting.threads, "precision": "high"}
    runtime = nn.create_runtime_manager((settings,))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "layer.onnx"), Path(folder, "layer.mnn")
        source.write_bytes(model(problem))
        files = ["--modelFile", str(source), "--MNNModel", str(target)]
        converter.mnnconvert(["mnnconvert", "-f", "ONNX", *files, "--bizCode", "convkit", "--keepInputFormat=0"])
        return nn.load_module_from_file(str(target), ["x"], ["y"], runtime_manager=runtime)
