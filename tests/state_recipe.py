"""Weights from a seed: the same numbers for any model of the same names and shapes, so that none need be stored."""

from collections.abc import Mapping

import numpy as np


def filled(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """float32 arrays of these names and shapes, drawn in the order of the sorted names by ``default_rng(seed)``.

    Weights of two axes and more are normal of variance 2 / fan_in; a normalisation's weight lies round 1, its variance,
    too, and all other vectors round 0. Counters count 3.
    """
    rng = np.random.default_rng(seed)
    state = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(3, np.int64)
            continue
        values = rng.standard_normal(shape, np.float32)
        if len(shape) > 1:
            values *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif name.endswith("running_var"):
            values = np.exp(values / 4)
        else:
            values = values / 8 + (1 if name.endswith("weight") else 0)
        state[name] = values.astype(np.float32)
    return {name: state[name] for name in shapes}
