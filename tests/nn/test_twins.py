"""Every layer beside PyTorch's answers, kept in tests/vectors/nn.npz: names, shapes, outputs, gradients, statistics."""

from pathlib import Path

import numpy as np
import pytest

from convkit import nn
from nn_cases import TWINS, first, with_numbers

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "nn.npz", allow_pickle=False)
ARRAYS = {case.name: {} for case in TWINS}
for key in VECTORS.files:
    ARRAYS[key.split("/")[0]][key.split("/")[1]] = VECTORS[key]


def those(arrays, prefix):
    """The arrays whose names start so, without the prefix."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


@pytest.mark.parametrize("case", TWINS, ids=lambda case: case.name)
def test_a_layer_does_what_its_twin_does(case):
    arrays = ARRAYS[case.name]
    layer = with_numbers(case.build(nn), np.random.default_rng(0)).train(case.training)
    before = those(arrays, "before.")
    assert list(layer.state_dict()) == list(before)
    layer.load_state_dict(before)
    more = (array if array.dtype == np.int64 else array.astype(np.float64) for array in those(arrays, "more.").values())
    got = {"y": layer(arrays["x"].astype(np.float64), *more)}
    got["dx"] = first(layer.backward(arrays["grad"].astype(np.float64)))
    got |= {"d." + name: parameter.grad for name, parameter in layer.named_parameters()}
    got |= {"after." + name: buffer.data for name, buffer in layer.named_buffers()}
    expected = {name: array for name, array in arrays.items() if name[:2] in ("y", "dx", "d.", "af")}
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_allclose(got[name], array, rtol=1e-10, atol=1e-10, err_msg=name)
