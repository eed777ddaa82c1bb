"""ONNX files, of whoever exported them: `python bench/files.py model.onnx other.onnx --against onnxruntime`.

Inputs are normal numbers of the declared shapes, with 1 for sizes that are left open.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from networks import runtime

from convkit import onnx_backend
from convkit.benchmarks.tasks import Task, main


def inputs(path: Path) -> list[np.ndarray]:
    """What the file's inputs may be."""
    import onnx

    rng, graph = np.random.default_rng(0), onnx.load(path, load_external_data=False).graph
    held, arrays = {tensor.name for tensor in graph.initializer}, []
    for value in graph.input:
        if value.name not in held:
            tensor = value.type.tensor_type
            shape = [size.dim_value or 1 for size in tensor.shape.dim]
            arrays.append(rng.standard_normal(shape).astype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)))
    return arrays


def session(path: Path, arrays: Sequence[np.ndarray], threads: int) -> Any:
    """The file, run by ONNX Runtime."""
    found = runtime(path, threads)
    given = dict(zip((value.name for value in found.get_inputs()), arrays, strict=True))
    return lambda: found.run(None, given)


def _named(results: Any) -> dict[str, np.ndarray]:
    """Every output, numbered."""
    return {f"y{k}": y for k, y in enumerate(results if isinstance(results, (list, tuple)) else [results])}


def tasks(against: Sequence[str], threads: int, files: Sequence[str]) -> Iterator[Task]:
    for path in map(Path, files):
        network, arrays = onnx_backend.load(path), inputs(path)
        peers = {peer: session(path, arrays, threads) for peer in against}
        yield Task(path.stem, lambda network=network, arrays=arrays: network(*arrays), peers, _named)


if __name__ == "__main__":
    sys.exit(main(__doc__, tasks, peers=("onnxruntime",), files="ONNX files to run"))
