"""What a trainer is given: refused when it is given, not where a training would fail of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from .._numbers import number
from .._options import of_kind
from .._words import counted, with_type
from ..data.minibatches import minibatches
from ..nn.module import Module
from ..optim.ema import EMA
from ..optim.optimizer import Optimizer
from .early_stopping import EarlyStopping

# What the arguments of a trainer are, and what an error says that they must be.
_ARGUMENTS: dict[str, tuple[Any, str]] = {
    "model": (Module, "a Module"),
    "optimizer": (Optimizer, "an Optimizer, such as optim.Adam(model.parameters())"),
    "loss": (Callable, "a function of scores and labels, such as losses.softmax_cross_entropy"),
    "schedule": (Callable | None, "a function of a step's number, such as optim.schedules.Cosine(steps), or None"),
    "transform": (Callable | None, "a function of a batch, such as data.flip, or None"),
    "metrics": (Mapping | None, 'a mapping of names to functions, such as {"accuracy": train.accuracy}, or None'),
    "penalty": (
        Callable | None,
        "a function of the model, such as partial(losses.l2_penalty, strength=1e-4), or None",
    ),
    "guard": (int | np.bool_, "a bool"),
    "ema": (EMA | None, "an EMA, such as optim.EMA(model), or None"),
    "early_stopping": (EarlyStopping | None, 'an EarlyStopping, such as train.EarlyStopping("val_loss", 5), or None'),
}


def check_made(trainer: Any) -> None:
    """Refuse now what a training would fail of later."""
    for name, (kind, expected) in _ARGUMENTS.items():
        of_kind(getattr(trainer, name), kind, name, expected)
    for name, metric in (trainer.metrics or {}).items():
        of_kind(metric, Callable, f"metrics[{name!r}]", "a function of scores and labels")
    if trainer.clip_norm is not None:
        number(trainer.clip_norm, "clip_norm", "a number of at least 0, or None", lambda norm: norm >= 0)
    own = set(map(id, trainer.model.parameters()))
    averaged = () if trainer.ema is None else trainer.ema.model.parameters()
    for name, parameters in (("optimizer", trainer.optimizer.parameters), ("ema", averaged)):
        theirs = set(map(id, parameters))
        if theirs and own.isdisjoint(theirs):
            raise ValueError(
                f"{name} must have parameters of the model, got {counted(len(theirs), 'parameter')}, none of them "
                "the model's: is it from before the model was made anew?"
            )


def warn_of_none_left(epochs: int, trained: int) -> None:
    """Warn the caller of `fit` that the epochs are trained already: so many more may have been meant."""
    if epochs <= trained:
        expected = f"epochs counts those before, too: nothing is trained unless it is more than {trained}, got {epochs}"
        warnings.warn(f"{expected}; epochs={trained + epochs} trains so many more", stacklevel=3)


def check_after_epochs(validation: Any, callbacks: Any) -> None:
    """Refuse now what `fit` asks for after an epoch."""
    if validation is not None:
        several = isinstance(validation, tuple | list)
        if not several or len(validation) != 2:
            got = counted(len(validation), "value") if several else with_type(validation)
            raise TypeError(f"validation must be a pair (x, y), samples and their labels, or None, got {got}")
        if not len(minibatches(*validation, 1, shuffle=False)):
            raise ValueError("validation must hold at least one sample, got none")
    if not isinstance(callbacks, Collection) or not all(map(callable, callbacks)):
        raise TypeError(f"callbacks must be a sequence of functions of the trainer, got {with_type(callbacks)}")
