"""SciPy: the faster of two formulations that its users write, since it knows no channels.

By Fourier transforms, all channels at once, on as many threads as asked for; or `scipy.ndimage.correlate` for each
pair of channels in turn, on one thread, where there are few pairs and no stride that would waste most of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._extras import need
from ..._timing import Contender
from ..layers import DEFORMABLE
from ..problem import NotOfferedError, Problem

fft = need("scipy.fft", "bench")
ndimage = need("scipy.ndimage", "bench")
threadpoolctl = need("threadpoolctl", "bench")

MOST_BYTES, MOST_PAIRS = 1e9, 4096


def build(problem: Problem) -> Contender:
    """The problem's forward call by SciPy, in the formulation that is faster at the first try."""
    if problem.direction != "forward" or problem.layer.kind in DEFORMABLE:
        raise NotOfferedError("SciPy computes neither gradients nor deformable convolution")
    threadpoolctl.threadpool_limits(problem.setting.threads, user_api="blas")  # for NumPy's products of spectra
    calls = [*_by_transforms(problem), *_by_pairs(problem)]
    if not calls:
        raise NotOfferedError("the spectra would take too much memory, and there are too many pairs of channels")
    return Contender("scipy", min(calls, key=_seconds), lambda y: {"y": y})


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _spread(array: np.ndarray, step: int) -> np.ndarray:
    """Zeros between the elements of the spatial axes."""
    if step == 1:
        return array
    spread = np.zeros((*array.shape[:2], *((size - 1) * step + 1 for size in array.shape[2:])), array.dtype)
    spread[(..., *(slice(None, None, step),) * (array.ndim - 2))] = array
    return spread


def _padded(array: np.ndarray, pads: tuple[int, ...]) -> np.ndarray:
    return np.pad(array, [(0, 0), (0, 0), *((pad, pad) for pad in pads)]) if any(pads) else array


def _by_transforms(problem: Problem) -> list[Callable[[], np.ndarray]]:
    """The call by Fourier transforms; none where they would take too much memory."""
    layer, data = problem.layer, problem.operands
    n, groups, threads, transposed = layer.n, layer.groups, problem.setting.threads, layer.kind == "convT"
    spans = [layer.dilation * (taps - 1) + 1 for taps in layer.kernel]
    if transposed:
        lengths = [(size - 1) * layer.stride + span for size, span in zip(layer.spatial, spans, strict=True)]
        part = tuple(slice(pad, pad + size) for pad, size in zip(layer.pads, layer.out_spatial, strict=True))
    else:
        lengths = [size + 2 * pad for size, pad in zip(layer.spatial, layer.pads, strict=True)]
        part = tuple(slice(0, (size - 1) * layer.stride + 1, layer.stride) for size in layer.out_spatial)
    lengths = [fft.next_fast_len(length, real=True) for length in lengths]
    maps = n * layer.c_in + n * layer.c_out + layer.c_in * layer.c_out // groups
    if maps * float(np.prod(lengths)) * 2 * data["x"].itemsize > MOST_BYTES:
        return []
    axes, bias = tuple(range(-layer.nd, 0)), data["bias"].reshape(-1, *(1,) * layer.nd)

    def spectrum(array: np.ndarray) -> np.ndarray:
        return fft.rfftn(array, lengths, axes, workers=threads)

    def call() -> np.ndarray:
        x = _spread(data["x"], layer.stride) if transposed else _padded(data["x"], layer.pads)
        xs, ws = spectrum(x), spectrum(_spread(data["weight"], layer.dilation))
        frequencies = xs.shape[2:]
        xs = xs.reshape(n, groups, -1, xs[0, 0].size)  # image, group, input, frequency
        ws = ws.reshape(groups, -1, ws.shape[1], xs.shape[-1])  # group, output, input (transposed: input, output)
        ws = ws.swapaxes(1, 2) if transposed else ws.conj()
        ys = np.matmul(xs.transpose(3, 1, 0, 2), ws.transpose(3, 0, 2, 1))  # frequency, group, image, output
        ys = np.ascontiguousarray(ys.transpose(2, 1, 3, 0)).reshape(n, layer.c_out, *frequencies)
        return fft.irfftn(ys, lengths, axes, workers=threads)[(..., *part)] + bias

    return [call]


def _by_pairs(problem: Problem) -> list[Callable[[], np.ndarray]]:
    """The call by one `ndimage.correlate` for each pair of channels; none where there are too many."""
    layer, data = problem.layer, problem.operands
    inputs, outputs = layer.c_in // layer.groups, layer.c_out // layer.groups
    if layer.kind == "convT" or layer.stride > 2 or layer.n * layer.c_out * inputs > MOST_PAIRS:
        return []
    spans = [layer.dilation * (taps - 1) + 1 for taps in layer.kernel]
    # ndimage centres a kernel on its middle element and gives an output for each input: those at whole windows remain.
    begin = [span // 2 for span in spans]
    part = tuple(
        slice(first, first + (size - 1) * layer.stride + 1, layer.stride)
        for first, size in zip(begin, layer.out_spatial, strict=True)
    )

    def call() -> np.ndarray:
        x, weight = _padded(data["x"], layer.pads), _spread(data["weight"], layer.dilation)
        y = np.empty(layer.y_shape, x.dtype)
        y[:] = data["bias"].reshape(-1, *(1,) * layer.nd)
        for image in range(layer.n):
            for output in range(layer.c_out):
                for index in range(inputs):
                    plane = x[image, output // outputs * inputs + index]
                    y[image, output] += ndimage.correlate(plane, weight[output, index], mode="constant")[part]
        return y

    return [call]
