"""Weights out of a model and into another one."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from convkit import nn


def network(seed, dtype="float32"):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=rng, dtype=dtype),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3, bias=False, rng=rng, dtype=dtype),
    )


def test_names_and_shapes_are_pytorchs():
    shapes = {name: array.shape for name, array in network(0).state_dict().items()}
    assert shapes == {"0.weight": (4, 1, 3, 3), "0.bias": (4,), "3.weight": (3, 16)}


def test_through_a_safetensors_file(tmp_path):
    one, other, x = network(0), network(1), np.random.default_rng(2).standard_normal((2, 1, 4, 4)).astype(np.float32)
    save_file(one.state_dict(), tmp_path / "weights.safetensors")
    before = other[0].weight.data
    keys = other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert keys == ([], [])
    assert other[0].weight.data is before  # in place: an optimizer made before goes on
    np.testing.assert_array_equal(one(x), other(x))


def test_between_float32_and_float64():
    wide, narrow = network(0, "float64"), network(1)
    narrow.load_state_dict(wide.state_dict())
    assert narrow[0].weight.dtype == np.float32
    np.testing.assert_array_equal(narrow[0].weight.data, wide[0].weight.data.astype(np.float32))


def test_the_arrays_are_the_models_own():
    model = network(0)
    assert model.state_dict()["0.weight"] is model[0].weight.data


@pytest.mark.parametrize("strict", [True, False])
def test_a_wrong_shape_is_always_an_error_and_changes_nothing(strict):
    model, state = network(0), dict(network(1).state_dict())
    state["3.weight"] = state["3.weight"].T
    before = {name: array.copy() for name, array in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"'3.weight': expected shape \(3, 16\), got \(16, 3\)"):
        model.load_state_dict(state, strict=strict)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_strict_lists_every_key_that_has_no_partner():
    model, state = network(0), dict(network(1).state_dict())
    state["4.scale"] = state.pop("0.bias")
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    assert "'0.bias': expected shape (4,), got no such key" in str(caught.value)
    assert "'4.scale': expected no such key, got shape (4,)" in str(caught.value)


def test_without_strict_they_are_returned_and_the_rest_is_loaded():
    model, other = network(0), network(1)
    state = dict(other.state_dict())
    state["4.scale"] = state.pop("0.bias")
    keys = model.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["0.bias"] and keys.unexpected_keys == ["4.scale"]
    np.testing.assert_array_equal(model[3].weight.data, other[3].weight.data)


def test_what_is_no_state():
    with pytest.raises(TypeError, match="state must be a mapping of names to arrays, got list"):
        network(0).load_state_dict([])
    state = dict(network(1).state_dict()) | {"0.bias": np.zeros(4, np.int64)}
    with pytest.raises(TypeError, match=r"state\['0.bias'\] must be float32 or float64, got int64"):
        network(0).load_state_dict(state)
