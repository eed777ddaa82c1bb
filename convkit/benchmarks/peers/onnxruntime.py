"""ONNX Runtime: a model of one node with constant weights, its input bound and its output in memory that it keeps."""

from __future__ import annotations

from ..._extras import need
from ..._timing import Contender
from ..problem import NotOfferedError, Problem
from ._onnx import model

onnxruntime = need("onnxruntime", "bench")


def build(problem: Problem) -> Contender:
    """The problem's forward call by ONNX Runtime, which has no gradients."""
    if problem.direction != "forward":
        raise NotOfferedError("ONNX Runtime computes no gradients")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = problem.setting.threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model(problem), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for given in session.get_inputs():
        binding.bind_cpu_input(given.name, problem.operands[given.name])
    binding.bind_output("y", "cpu")

    def call():
        session.run_with_iobinding(binding)
        return binding

    return Contender("onnxruntime", call, lambda bound: {"y": bound.copy_outputs_to_cpu()[0]})
