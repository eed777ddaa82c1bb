"""What PyTorch and torchvision answer to `training_cases`, in float64."""

import numpy as np
import torch
from torch.nn import functional
from torch.optim import lr_scheduler

from torchvision_here import torchvision
from training_cases import HORIZON, OPTIMIZERS, RATE, RATE_SHARES, REDUCTIONS, LossCase

FUNCTIONS = {
    "softmax_cross_entropy": functional.cross_entropy,
    "negative_log_likelihood": functional.nll_loss,
    "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
    "multiclass_hinge": lambda x, t, **options: x.shape[1] * functional.multi_margin_loss(x, t, **options),
    "l1": functional.l1_loss,
    "l2": functional.mse_loss,
    "huber": functional.huber_loss,
    "smooth_l1": functional.smooth_l1_loss,
}


def _focal(x, t, alpha=0.25, **options):
    return torchvision.ops.sigmoid_focal_loss(x, t, alpha=-1 if alpha is None else alpha, **options)


def loss_answers(case: LossCase, x: np.ndarray, t: np.ndarray, weights: np.ndarray | None = None) -> dict:
    """Value and gradient under each reduction, as "mean" and "mean_grad"; that of "none" is its sum's."""
    options = dict(case.options)
    if weights is not None:
        options["weight"] = torch.tensor(weights)
    if "pos_weight" in options:
        options["pos_weight"] = torch.tensor(options["pos_weight"])
    if case.loss == "focal":
        options.setdefault("gamma", 2)
    function = _focal if case.loss == "focal" else FUNCTIONS[case.loss]
    answers = {}
    for reduction in REDUCTIONS:
        leaf = torch.tensor(x, requires_grad=True)
        value = function(leaf, torch.tensor(t), reduction=reduction, **options)
        value.sum().backward()
        answers |= {reduction: value.detach().numpy(), f"{reduction}_grad": leaf.grad.numpy()}
    return answers


def descent_answers(name: str, start: np.ndarray, grads: np.ndarray) -> np.ndarray:
    """The parameter after each step."""
    kind, options = OPTIMIZERS[name]
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, kind)([parameter], **options)
    path = []
    for share, grad in zip(RATE_SHARES, grads, strict=True):
        optimizer.param_groups[0]["lr"] = share * options["lr"]
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    return np.array(path)


def _optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)


def _linear(optimizer, start, end, steps):
    return lr_scheduler.LinearLR(optimizer, start, end, steps)


def _schedule(name: str, optimizer):
    if name == "step":
        return lr_scheduler.StepLR(optimizer, 10, 0.5)
    if name == "multistep":
        return lr_scheduler.MultiStepLR(optimizer, [4, 9, 15], 0.3)
    if name == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, 0.9)
    if name == "linear":
        return _linear(optimizer, 1.0, 0.1, 12)
    if name == "warm_up":
        return _linear(optimizer, 0.2, 1.0, 8)
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, HORIZON - 1, 0.1 * RATE)
    if name == "sequence":
        parts = [_linear(optimizer, 0.2, 1.0, 8), lr_scheduler.ExponentialLR(optimizer, 0.9)]
        return lr_scheduler.SequentialLR(optimizer, parts, [8])
    parts = [_linear(optimizer, 0.2, 1.0, 8), lr_scheduler.StepLR(optimizer, 10, 0.5)]
    return lr_scheduler.ChainedScheduler(parts)


def schedule_answers(name: str) -> np.ndarray:
    """The rate at 0, 1, ..., HORIZON - 1."""
    optimizer = _optimizer()
    schedule = _schedule(name, optimizer)
    rates = []
    for _ in range(HORIZON):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(rates)
