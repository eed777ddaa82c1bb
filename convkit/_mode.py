"""How the calling thread runs layers: whether calls keep what a backward needs, in which mode, and who looks on.

All of it is said for a thread and a time, never written into a layer, so threads that share a model do not meet. A
thread that is started inside starts as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NamedTuple

from ._held import Held


class Hooks(NamedTuple):
    """What looks on: functions that are called after a layer's forward and after its backward, or None."""

    forward: Callable[..., Any] | None
    backward: Callable[..., Any] | None


class Mode(NamedTuple):
    """Whether calls keep what a backward needs, whether layers evaluate whatever their flags, and what looks on.

    Where there is a tracer, layers are not run, but asked what they compute.
    """

    keeping: bool = True
    evaluating: bool = False
    hooks: tuple[Hooks, ...] = ()
    tracer: Any = None


_USUAL = Mode()
how: ContextVar[Mode] = ContextVar("convkit.nn", default=_USUAL)


def entered(**changes: Any) -> AbstractContextManager[None]:
    """Inside the ``with`` the calling thread's mode has these changes."""
    return Held(how, lambda before: before._replace(**changes))


def keeping() -> bool:
    """Whether calls of the calling thread keep what a backward needs; a `Module.run` may spare it where not.

    Examples
    --------
    >>> from convkit import nn
    >>> with nn.inference():
    ...     nn.keeping()
    False
    >>> nn.keeping()
    True
    """
    return how.get().keeping


def inference() -> AbstractContextManager[None]:
    """Inside the ``with``, calls keep nothing for a backward: each activation dies as soon as the next is there.

    It holds for the calling thread. Pooling makes no indices and losses no gradient (``loss.grad`` is None); a backward
    raises RuntimeError. Modes stay as they are: `Module.predict` evaluates besides.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> model = nn.Linear(3, 2, rng=0).eval()
    >>> with nn.inference():
    ...     y = model(np.ones((1, 3), np.float32))
    >>> y.shape
    (1, 2)
    """
    return entered(keeping=False)


def hooks(
    forward: Callable[..., Any] | None = None, backward: Callable[..., Any] | None = None
) -> AbstractContextManager[None]:
    """Inside the ``with``, functions look on at every call of a layer in the calling thread, inner layers first.

    Parameters
    ----------
    forward : function, optional
        Called as ``forward(layer, inputs, output)``, `inputs` a tuple. What it returns, if not None, is the output.
    backward : function, optional
        Called as ``backward(layer, grad, input_grad)``; None where the input's gradient was not wanted.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.ReLU())
    >>> with nn.hooks(forward=lambda layer, inputs, y: print(type(layer).__name__, y.shape)):
    ...     y = model(np.ones((4, 3), np.float32))
    Linear (4, 2)
    ReLU (4, 2)
    Sequential (4, 2)
    """
    return Held(how, lambda before: before._replace(hooks=(*before.hooks, Hooks(forward, backward))))
