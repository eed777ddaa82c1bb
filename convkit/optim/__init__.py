"""Optimizers: they change parameters by the gradients that `Module.backward` has added up.

One step of training::

    optimizer.zero_grad()
    model.backward(loss.grad, need_input=False)
    optim.clip_grad_norm(model.parameters(), 1.0)  # if wanted
    optimizer.step()
    schedule.step()                                # sets optimizer.lr, see `schedules`
    ema.update()                                   # if wanted
"""

from . import schedules
from .adam import Adam, AdamW
from .clip import clip_grad_norm, clip_grad_value
from .ema import EMA
from .optimizer import Group, Optimizer, decay_groups
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "EMA",
    "SGD",
    "Adam",
    "AdamW",
    "Group",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
    "clip_grad_value",
    "decay_groups",
    "schedules",
]
