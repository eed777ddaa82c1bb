"""ncnn: a net of one layer in float32, image by image (it has no batches).

Input and output are packed by channels, as ncnn's layers hand them on to each other: packing is not timed.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import convkit

from ..._extras import need
from ..._timing import Contender
from ..layers import DEFORMABLE, Layer
from ..problem import NotOfferedError, Problem

ncnn = need("ncnn", "bench")

HEADER, RAW_FLOAT32 = 7767517, struct.pack("<I", 0)
AS_STORED = 1  # of extract: do not unpack


def build(problem: Problem) -> Contender:
    """The problem's forward call by ncnn, which has no gradients."""
    if problem.direction != "forward" or problem.setting.dtype != "float32":
        raise NotOfferedError("ncnn computes no gradients, and in float32 alone")
    inputs = [name for name in ("x", "offset", "mask") if name in problem.operands]
    net = _net(problem, inputs)
    images = [
        [(name, _packed(problem.operands[name][index], net.opt)) for name in inputs] for index in range(problem.layer.n)
    ]

    def call() -> list:
        results = []
        for blobs in images:
            extractor = net.create_extractor()
            for name, blob in blobs:
                extractor.input(name, blob)
            results.append(extractor.extract("y", AS_STORED)[1])
        return results

    def read(results: list) -> dict[str, np.ndarray]:
        return {"y": np.stack([np.array(ncnn.convert_packing(blob, 1, net.opt)) for blob in results])}

    return Contender("ncnn", call, read)


def _net(problem: Problem, inputs: list[str]) -> Any:
    """A network of the one layer, with its weights."""
    net = ncnn.Net()
    net.opt.num_threads = problem.setting.threads
    for name in dir(net.opt):
        if name.startswith(("use_fp16", "use_bf16", "use_int8")):
            setattr(net.opt, name, False)
    lines = [f"Input {name} 0 1 {name}" for name in inputs]
    options = " ".join(f"{key}={value}" for key, value in _parameters(problem.layer).items())
    lines.append(f"{_name(problem.layer)} layer {len(inputs)} 1 {' '.join(inputs)} y {options}")
    if net.load_param_mem("\n".join([str(HEADER), f"{len(lines)} {len(inputs) + 1}", *lines, ""])):
        raise ValueError("ncnn cannot read the layer")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.bin")
        path.write_bytes(RAW_FLOAT32 + _weight(problem).tobytes() + problem.operands["bias"].tobytes())
        if net.load_model(str(path)):
            raise ValueError("ncnn cannot use the weights")
    return net


def _name(layer: Layer) -> str:
    if layer.kind in DEFORMABLE:
        return "DeformableConv2D"
    first = "Deconvolution" if layer.kind == "convT" else "Convolution"
    return first + ("DepthWise" if layer.groups > 1 else "") + {1: "1D", 2: "", 3: "3D"}[layer.nd]


def _parameters(layer: Layer) -> dict[int, int]:
    """By ncnn's numbers, which go up by 10 from the innermost axis outwards; end padding has numbers of its own."""
    found = {0: layer.c_out, 5: 1, 6: np.prod(layer.weight_shape)}
    for axis, (taps, pad) in enumerate(zip(layer.kernel[::-1], layer.pads[::-1], strict=True)):
        sizes = {1: taps, 2: layer.dilation, 3: layer.stride, 4: pad}
        found |= {10 * axis + key: value for key, value in sizes.items()} | {15 + axis: pad}
    return found | ({7: layer.groups} if layer.groups > 1 else {})


def _weight(problem: Problem) -> np.ndarray:
    """Outputs first, in each group."""
    weight, groups = problem.operands["weight"], problem.layer.groups
    if problem.layer.kind == "convT":
        weight = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(weight)


def _packed(image: np.ndarray, option: Any) -> Any:
    """The blob as a layer before would have left it: channels in packs of the widest vector that divides them."""
    widest = 16 if "avx512" in convkit.available_isas() else 8 if ncnn.cpu_support_x86_avx() else 4
    pack = next(size for size in (16, 8, 4, 1) if size <= widest and len(image) % size == 0)
    return ncnn.convert_packing(ncnn.Mat(image).clone(), pack, option)
