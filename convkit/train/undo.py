"""A step of training happens as a whole or not at all."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..nn.module import Module
from ..optim import EMA, SGD, Adam, AdamW, Optimizer, RMSprop
from ..optim.optimizer import unique_parameters
from . import checkpoint as checkpoints
from .interrupt import uninterrupted


class Undo:
    """Takes back what was begun, if it does not come to its end: each ``with undo():`` is one try, until `settle`.

    Before the optimizer's, a step writes nothing but buffers, numbers of the optimizer and places of generators: these
    are copied each time, for they are small. The gradients that it begins with need no copy: its own are other arrays.
    convkit's optimizers and `EMA` check everything before they write. Of others nothing is known: with them all
    parameters, and what they remember, are copied as well.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
    ema : EMA or None
    rng : numpy.random.Generator
        The trainer's; those of the model's layers are found.

    Attributes
    ----------
    generators : dict of str to numpy.random.Generator
    """

    def __init__(self, model: Module, optimizer: Optimizer, ema: EMA | None, rng: np.random.Generator) -> None:
        self.optimizer = optimizer
        self.generators = checkpoints.generators(rng, model)
        self.buffers = [buffer for _, buffer in model.named_buffers()]
        self.parameters = unique_parameters([*model.parameters(), *optimizer.parameters])
        own = _is(optimizer, (SGD, Adam, AdamW, RMSprop)) and (ema is None or _is(ema, (EMA,)))
        self.settled = False
        self.copied = [] if own else [part for part in (model, optimizer, ema) if part is not None]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """What is inside leaves no trace if it raises before it is settled."""
        self.settled = False
        places = checkpoints.generator_states(self.generators)
        numbers = {name: getattr(self.optimizer, name) for name in self.optimizer.numbers}
        buffers = [(buffer, buffer.data, buffer.data.copy(), buffer.version) for buffer in self.buffers]
        grads = [(parameter, parameter.grad) for parameter in self.parameters]
        states = [copy.deepcopy(part.state_dict()) for part in self.copied]
        try:
            yield
        except BaseException:
            if self.settled:
                raise
            with uninterrupted():
                checkpoints.set_generator_states(self.generators, places)
                for name, number in numbers.items():
                    setattr(self.optimizer, name, number)
                for buffer, array, before, version in buffers:
                    buffer.data = array
                    np.copyto(array, before)
                    buffer.version = version
                for parameter, grad in grads:
                    parameter.grad = grad
                for part, state in zip(self.copied, states, strict=True):
                    part.load_state_dict(state)
            raise

    def settle(self) -> None:
        """From here on there is no way back."""
        self.settled = True


def _is(part: object, kinds: tuple[type, ...]) -> bool:
    """Whether it is one of these itself: no subclass, no method of its own."""
    return type(part) in kinds and vars(part).keys().isdisjoint(("step", "update"))
