"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, overload

from .._mode import how
from .._options import BOUNDS
from .activations import FromResult
from .batchnorm import BatchNorm2d
from .conv import Convolution
from .linear import Linear
from .module import Module, Way
from .parameter import learns


class Sequential(Module):
    """A chain of layers: the output of one is the input of the next.

    Parameters
    ----------
    *layers : Module
        Named ``"0"``, ``"1"``... in `state_dict`; or one dict of names to modules.

    Raises
    ------
    TypeError
        If something is not a Module.

    Notes
    -----
    ``model[0]`` is a layer. ``model[:-1]`` is a Sequential of the same layers (shared, not copied) under the same
    names, as in PyTorch.

    A layer may stand in it twice: its parameters are learned once, by the sum of both gradients, and it has both names
    in `state_dict`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> rng = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=rng), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 10, rng=rng))
    >>> model(np.ones((5, 1, 8, 8), np.float32)).shape
    (5, 10)
    """

    def __init__(self, *layers: Module | dict[str, Module]) -> None:
        if len(layers) == 1 and isinstance(layers[0], dict):
            self._layers = dict(layers[0])
        else:
            self._layers = {str(i): layer for i, layer in enumerate(layers)}
        for name, layer in self._layers.items():
            if not isinstance(layer, Module):
                raise TypeError(f"layers[{name!r}] must be a Module, got {type(layer).__name__}")

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the name and module of every layer, in order."""
        yield from self._layers.items()

    def run(self, x: Any) -> tuple[Any, Way]:
        """Run the layers in order; the way back takes theirs in reverse, down to the lowest layer that learns.

        Where no hook sees it, a `Sequential` inside is its layers, and a layer and the activation that follows go in
        one pass, there and back, if their operator has it.
        """
        mode = how.get()
        unseen = not mode.hooks and mode.tracer is None
        layers, backs = _unfolded(self) if unseen else list(self), []
        done = False  # whether the layer before does this one, too, there and back
        for layer, after in zip_longest(layers, layers[1:]):
            if done:
                back, done = None, False
            elif done := unseen and _is_one_pass(layer, after):
                x, back = layer._begin(layer._run_with, x, after.fused)
            else:
                x, back = layer.begin(x)
            backs.append(back)

        def back_through(grad: Any, need_input: bool) -> Any:
            end = lowest(layers, need_input)
            while len(backs) > end:
                if (back := backs.pop()) is not None:
                    grad = back(grad, need_input or len(backs) > end)
            return grad

        return x, back_through

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple:
        """That of the last layer."""
        for layer in self:
            x_shape = layer.output_shape(x_shape)
        return x_shape

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return Sequential(dict(list(self._layers.items())[index]))
        return list(self)[index]

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers.values())


_CALLS = frozenset(("begin", "run"))  # that an instance may have of its own


def _unfolded(chain: Sequential) -> list[Module]:
    """Its layers and, in place of a chain among them, that one's."""
    layers = []
    for layer in chain:
        if type(layer).run is Sequential.run and _is_called_as_usual(layer):
            layers += _unfolded(layer)
        else:
            layers.append(layer)
    return layers


def _is_one_pass(layer: Module, after: Module | None) -> bool:
    """Whether a layer's operator can compute the activation that follows."""
    if after is None or type(after).run is not FromResult.run:
        return False
    run = type(layer).run
    if run not in (Convolution.run, Linear.run) and not (run is BatchNorm2d.run and after._activation[0] in BOUNDS):
        return False
    usual = _is_called_as_usual(layer) and _is_called_as_usual(after)
    return usual and getattr(layer, "activation", None) is None


def _is_called_as_usual(layer: Module) -> bool:
    return type(layer).begin is Module.begin and vars(layer).keys().isdisjoint(_CALLS)


def lowest(layers: Sequence[Module], need_input: bool) -> int:
    """Index of the lowest layer that a way back has to reach: the first, if the input's gradient is wanted, or the
    first that learns.
    """
    return 0 if need_input else next((i for i, layer in enumerate(layers) if learns(layer)), len(layers))
