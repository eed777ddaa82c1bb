"""PyTorch's and torchvision's answers, kept in tests/vectors: losses, optimizers and schedules to 1e-10."""

from pathlib import Path

import numpy as np
import pytest

from training_cases import HORIZON, LOSSES, OPTIMIZERS, REDUCTIONS, SCHEDULES, descend, lose

VECTORS = np.load(Path(__file__).parent / "vectors" / "training.npz", allow_pickle=False)
BY_NAME = pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)


def stored(prefix):
    """The arrays below a prefix."""
    return {key.removeprefix(prefix): VECTORS[key] for key in VECTORS.files if key.startswith(prefix)}


def operands(case):
    return {key: array for key, array in stored(f"loss/{case.name}/").items() if key in ("x", "t", "weights")}


@BY_NAME
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses(case, reduction):
    loss, answers = lose(case, **operands(case), reduction=reduction), stored(f"loss/{case.name}/")
    np.testing.assert_allclose(loss.value, answers[reduction], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(loss.grad, answers[f"{reduction}_grad"], rtol=1e-10, atol=1e-10)


@BY_NAME
def test_losses_in_float32(case):
    given = {
        key: array.astype(np.float32) if array.dtype.kind == "f" else array for key, array in operands(case).items()
    }
    loss, answers = lose(case, **given, reduction="none"), stored(f"loss/{case.name}/")
    assert loss.value.dtype == loss.grad.dtype == np.float32
    np.testing.assert_allclose(loss.value, answers["none"], rtol=4e-6, atol=4e-6)
    np.testing.assert_allclose(loss.grad, answers["none_grad"], rtol=4e-6, atol=4e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, isa):
    path = descend(name, VECTORS["descent/start"], VECTORS["descent/grads"])
    np.testing.assert_allclose(path, VECTORS[f"descent/{name}/path"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    rates = [SCHEDULES[name](t) for t in range(HORIZON)]
    np.testing.assert_allclose(rates, VECTORS[f"schedule/{name}"], rtol=1e-10, atol=1e-10)


def test_they_are_all_there():
    assert {key.split("/")[1] for key in VECTORS.files if key.startswith("loss/")} == {case.name for case in LOSSES}
    assert {key.split("/")[1] for key in VECTORS.files if key.endswith("/path")} == set(OPTIMIZERS)
    assert {key.split("/")[1] for key in VECTORS.files if key.startswith("schedule/")} == set(SCHEDULES)
