"""Losses and all of `optim` against a live PyTorch and torchvision, in float64; run by `make test-peers`."""

import numpy as np
import pytest
import torch

import training_oracle as oracle
from convkit import nn, optim
from training_cases import HORIZON, LOSSES, OPTIMIZERS, REDUCTIONS, SCHEDULES, descend, draw_descent, lose


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)
def test_losses(case):
    for seed in range(20):
        operands = case.draw(np.random.default_rng(seed))
        answers = oracle.loss_answers(case, **operands)
        for reduction in REDUCTIONS:
            loss = lose(case, **operands, reduction=reduction)
            np.testing.assert_allclose(loss.value, answers[reduction], rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(loss.grad, answers[f"{reduction}_grad"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    for seed in range(20):
        descent = draw_descent(np.random.default_rng(seed))
        np.testing.assert_allclose(
            descend(name, **descent), oracle.descent_answers(name, **descent), rtol=1e-10, atol=1e-10
        )


RATES, MOMENTA = (0.1, 0, 0.2, 0.1, 0.1, 0, 0.3, 0.1), (0.9, 0.5, 0, 0, 0.6, 0.3, 0, 0.5)
DECAYS, BETAS = (0, 0.1, 0, 0, 0.2, 0.1, 0.1, 0), ((0.9, 0.99), (0.5, 0.9), (0, 0), (0, 0.9), (0.9, 0), (0.8, 0.8)) * 2
SET = {
    "SGD": ({"momentum": 0.0}, {"lr": RATES, "momentum": MOMENTA[2:], "weight_decay": DECAYS}),
    "SGD, nesterov": ({"momentum": 0.9, "nesterov": True}, {"lr": RATES, "momentum": MOMENTA, "weight_decay": DECAYS}),
    "RMSprop": ({"momentum": 0.9}, {"lr": RATES, "momentum": MOMENTA, "alpha": MOMENTA[::-1], "weight_decay": DECAYS}),
    "Adam": ({}, {"lr": RATES, "betas": BETAS, "weight_decay": DECAYS}),
    "AdamW": ({}, {"lr": RATES, "betas": BETAS, "weight_decay": DECAYS}),
}


@pytest.mark.parametrize("name", SET)
def test_numbers_set_between_steps(name):
    (options, values), kind, rng = SET[name], name.split(",")[0], np.random.default_rng(0)
    start = rng.standard_normal(5)
    ours, theirs = nn.Parameter(start.copy()), torch.nn.Parameter(torch.tensor(start))
    one, other = (
        getattr(optim, kind)([ours], lr=0.1, **options),
        getattr(torch.optim, kind)([theirs], lr=0.1, **options),
    )
    for numbers in zip(*values.values(), strict=False):
        for key, number in zip(values, numbers, strict=True):
            setattr(one, key, number)
            other.param_groups[0][key] = number
        grad = rng.standard_normal(5)
        ours.grad, theirs.grad = grad, torch.tensor(grad)
        one.step()
        other.step()
        np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["SGD", "RMSprop", "Adam", "AdamW"])
def test_groups_under_a_schedule(kind):
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape) for shape in ((3, 4), (5,), (2,))]
    ours = [nn.Parameter(start.copy()) for start in starts]
    theirs = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    own = {"SGD": {"momentum": 0.5}, "RMSprop": {"alpha": 0.5}}.get(kind, {"betas": (0.5, 0.75)})
    one, other = (
        getattr(module, kind)(
            [{"params": some[:1], "weight_decay": 0.1}, {"params": some[1:], "lr": 0.3, **own}], lr=0.1
        )
        for module, some in ((optim, ours), (torch.optim, theirs))
    )
    schedule = optim.schedules.Exponential(0.8).drive(one)
    theirs_too = torch.optim.lr_scheduler.ExponentialLR(other, 0.8)
    for _ in range(6):
        for parameter, twin in zip(ours, theirs, strict=True):
            parameter.grad = rng.standard_normal(parameter.shape)
            twin.grad = torch.tensor(parameter.grad)
        for step in (one.step, other.step, schedule.step, theirs_too.step):
            step()
        for parameter, twin in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(parameter.data, twin.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # SequentialLR's own call
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    rates = [SCHEDULES[name](t) for t in range(HORIZON)]
    np.testing.assert_allclose(rates, oracle.schedule_answers(name), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm_type", [1, 2, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 100.0])
def test_clipping(max_norm, norm_type):
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(shape) for shape in ((3, 4), (5,))]
    ours = [nn.Parameter(np.zeros(grad.shape)) for grad in grads]
    theirs = [torch.nn.Parameter(torch.zeros(grad.shape, dtype=torch.float64)) for grad in grads]
    for one, other, grad in zip(ours, theirs, grads, strict=True):
        one.grad, other.grad = grad.copy(), torch.tensor(grad)
    norm = optim.clip_grad_norm(ours, max_norm, norm_type=norm_type)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)), rel=1e-12)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.grad, other.grad, rtol=1e-10)


def test_shadow_weights():
    layer, theirs = nn.Linear(3, 2, dtype="float64", rng=0), torch.nn.Linear(3, 2, dtype=torch.float64)
    theirs.load_state_dict({name: torch.tensor(value) for name, value in layer.state_dict().items()})
    # A first update of PyTorch's copies; ours starts from a copy.
    swa = torch.optim.swa_utils
    ema, averaged = optim.EMA(layer, 0.9), swa.AveragedModel(theirs, multi_avg_fn=swa.get_ema_multi_avg_fn(0.9))
    averaged.update_parameters(theirs)
    for step in range(5):
        for name, value in layer.state_dict().items():
            value += np.random.default_rng(step).standard_normal(value.shape)
            theirs.state_dict()[name].copy_(torch.tensor(value))
        ema.update()
        averaged.update_parameters(theirs)
    for name, value in averaged.module.state_dict().items():
        np.testing.assert_allclose(ema.shadow[name], value, rtol=1e-10)
