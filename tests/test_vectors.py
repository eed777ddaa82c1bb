"""PyTorch's answers, kept in tests/vectors: the reference to rounding, and convkit within the derived bound."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from cases import DTYPES, LAYOUTS, arrange, pairs, restore

VECTORS = np.load(Path(__file__).parent / "vectors" / "conv.npz", allow_pickle=False)
NAMES = sorted({key.split("/")[0] for key in VECTORS.files})
ANSWERS = {"y": "y", "dx": "x", "dw": "weight", "db": "bias"}


def as_tuples(value):
    """JSON has lists where the arguments are tuples."""
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


def stored(name, dtype):
    """Operands, answers and arguments of a case."""
    arrays = {key: VECTORS[f"{name}/{key}"] for key in ("x", "weight", "bias", "grad", *ANSWERS)}
    arguments = {key: as_tuples(value) for key, value in json.loads(str(VECTORS[f"{name}/arguments"])).items()}
    operands = {key: arrays[key].astype(dtype) for key in ("x", "weight", "bias", "grad")}
    return operands, {ANSWERS[key]: arrays[key] for key in ANSWERS}, arguments


def compute(module, operands, y, arguments, layout="NCHW"):
    """Forward and gradients by `module`, convkit or its reference."""
    operator = f"conv{operands['x'].ndim - 2}d"
    x, weight, bias, grad = operands.values()
    x, grad = arrange(x, layout), arrange(grad, layout)
    result = getattr(module, operator)(x, weight, bias, layout=layout, **arguments)
    y = arrange(y, layout)
    grads = getattr(module, operator + "_backward")(grad, x, weight, layout=layout, y=y, **arguments)
    return {"y": restore(result, layout), "x": restore(grads.x, layout), "weight": grads.weight, "bias": grads.bias}


@pytest.mark.parametrize("name", NAMES)
def test_reference(name):
    operands, answers, arguments = stored(name, "float64")
    for key, got in compute(convkit.reference, operands, answers["y"], arguments).items():
        assert np.allclose(got, answers[key], rtol=1e-12, atol=1e-12), key


@pairs("name, dtype", NAMES, DTYPES)
def test_convkit(name, dtype, any_isa):
    operands, answers, arguments = stored(name, dtype)
    operator = f"conv{operands['x'].ndim - 2}d"
    x, weight, bias, grad = operands.values()
    y = answers["y"].astype(dtype)
    bounds = convkit.reference.bound(operator + "_backward", grad, x, weight, y=y, **arguments)._asdict()
    bounds["y"] = convkit.reference.bound(operator, x, weight, bias, **arguments)
    if arguments["activation"] is not None:
        # PyTorch formed the derivative from its own y, not from the rounded one that convkit is given.
        answers |= getattr(convkit.reference, operator + "_backward")(grad, x, weight, y=y, **arguments)._asdict()
    for isa, layout in itertools.product(convkit.available_isas(), LAYOUTS):
        convkit.set_isa(isa)
        for key, got in compute(convkit, operands, y, arguments, layout).items():
            assert_within_bound(got, answers[key], bounds[key], f"{key}, {layout}, {isa}")


def test_they_are_all_there():
    assert len(NAMES) >= 40
    assert len(VECTORS.files) == len(NAMES) * 9
