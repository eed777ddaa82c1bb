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


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("value", [1e300, -1e39, np.finfo(np.float64).max])
def test_what_float32_cannot_hold_is_refused_and_named(strict, value):
    model, state = network(0), {name: array.copy() for name, array in network(1, "float64").state_dict().items()}
    state["0.weight"][1, 0, 2, 1] = state["3.weight"][0, 3] = value
    before = {name: array.copy() for name, array in model.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state, strict=strict)
    assert f"'0.weight' must have values that float32 can hold, got {value} at (1, 0, 2, 1)" in str(caught.value)
    assert f"'3.weight' must have values that float32 can hold, got {value} at (0, 3)" in str(caught.value)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_infinity_and_what_rounds_to_the_largest_number_are_taken():
    model, state = network(0), {name: array.copy() for name, array in network(1, "float64").state_dict().items()}
    largest = float(np.finfo(np.float32).max)
    state["0.bias"][:] = [np.inf, -np.inf, np.nan, largest * (1 + 1e-9)]
    model.load_state_dict(state)
    np.testing.assert_array_equal(model[0].bias.data, [np.inf, -np.inf, np.nan, largest])


@pytest.mark.parametrize("count", [np.array(2**63, np.uint64), np.array(2**64 - 1, np.uint64)])
def test_a_count_is_not_wrapped(count):
    model = nn.Sequential(nn.BatchNorm2d(2))
    state = {name: array.copy() for name, array in model.state_dict().items()}
    with pytest.raises(ValueError, match=rf"'0.num_batches_tracked' must have values that int64 can hold, got {count}"):
        model.load_state_dict(state | {"0.num_batches_tracked": count, "0.weight": np.zeros(2)})
    assert model[0].num_batches_tracked.data == 0 and (model[0].weight.data == 1).all()
    for kind in (np.uint8, np.int16, np.uint64, ">i8"):
        model.load_state_dict(state | {"0.num_batches_tracked": np.array(7, kind)})
        assert model[0].num_batches_tracked.data == 7


def test_any_byte_order():
    model, other = network(0), network(1)
    model.load_state_dict({name: array.astype(">f8") for name, array in other.state_dict().items()})
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, two.data)
        assert one.dtype == np.float32 and one.dtype.isnative


def test_arrays_of_the_model_itself_in_another_place():
    """Every source is read before it is overwritten."""
    model = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1))
    first, second = (layer.weight.data.copy() for layer in model)
    own = model.state_dict()
    model.load_state_dict(own | {"0.weight": own["1.weight"].T, "1.weight": own["0.weight"][::-1]})
    np.testing.assert_array_equal(model[0].weight.data, second.T)
    np.testing.assert_array_equal(model[1].weight.data, first[::-1])


def test_a_model_that_may_not_be_written_to(tmp_path):
    """As when its weights are a file mapped into memory."""
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1))
    np.save(tmp_path / "weight.npy", model[1].weight.data)
    model[1].weight.data = np.load(tmp_path / "weight.npy", mmap_mode="r")
    before = model[0].weight.data.copy()
    with pytest.raises(ValueError, match="'1.weight': expected an array to write to, got a read-only one in the model"):
        model.load_state_dict({name: array + 1 for name, array in model.state_dict().items()})
    np.testing.assert_array_equal(model[0].weight.data, before)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "complex64", "bool"])
def test_dtypes_that_no_model_has(dtype):
    state = dict(network(1).state_dict()) | {"3.weight": np.zeros((3, 16), dtype)}
    with pytest.raises(TypeError, match=rf"state\['3.weight'\] must be float32 or float64, got {np.dtype(dtype)}"):
        network(0).load_state_dict(state)


def test_what_is_no_state():
    with pytest.raises(TypeError, match="state must be a mapping of names to arrays, got list"):
        network(0).load_state_dict([])
    state = dict(network(1).state_dict()) | {"0.bias": np.zeros(4, np.int64)}
    with pytest.raises(TypeError, match=r"state\['0.bias'\] must be float32 or float64, got int64"):
        network(0).load_state_dict(state)
