"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import overload

import numpy as np

from .module import Module


class Sequential(Module):
    """A chain of layers: the output of one is the input of the next.

    Parameters
    ----------
    *layers : Module
        Named ``"0"``, ``"1"``... in `state_dict`; or one dict of names to modules.

    Notes
    -----
    ``model[0]`` is a layer. ``model[:-1]`` is a Sequential of the same layers (shared, not copied) under the same
    names, as in PyTorch.

    A layer keeps the arrays of its last forward, so the same object cannot stand twice in a chain.

    Raises
    ------
    TypeError
        If something is not a Module.
    ValueError
        If a layer occurs twice.
    """

    def __init__(self, *layers: Module | dict[str, Module]) -> None:
        if len(layers) == 1 and isinstance(layers[0], dict):
            self._layers = dict(layers[0])
        else:
            self._layers = {str(i): layer for i, layer in enumerate(layers)}
        paths: dict[int, str] = {}
        for name, layer in self._layers.items():
            if not isinstance(layer, Module):
                raise TypeError(f"layers[{name!r}] must be a Module, got {type(layer).__name__}")
            for path, module in layer.named_modules(name):
                if id(module) in paths:
                    raise ValueError(
                        f"layers must each occur once, got the same {type(module).__name__} "
                        f"as {paths[id(module)]!r} and as {path!r}; make a second one"
                    )
                paths[id(module)] = path

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the name and module of every layer, in order."""
        yield from self._layers.items()

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Run the layers in order."""
        for layer in self:
            x = layer(x)
        return x

    def backward(self, grad: np.ndarray, *, need_input: bool = False) -> np.ndarray | None:
        """Run the layers' backward in reverse, down to the lowest layer that learns.

        Parameters
        ----------
        grad : ndarray
            Gradient of the loss with respect to the output.
        need_input : bool, default False
            Whether the gradient with respect to the chain's input is wanted. Without it the lowest layer that has
            something to learn does not compute its input's gradient, and the frozen ones below it do nothing at all.

        Returns
        -------
        ndarray or None
            Gradient with respect to the input, if asked for.
        """
        layers = list(self)
        lowest = 0
        while not need_input and lowest < len(layers) and not _learns(layers[lowest]):
            lowest += 1
        for i in reversed(range(lowest, len(layers))):
            grad = layers[i].backward(grad, need_input=need_input or i > lowest)
        return grad if need_input else None

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


def _learns(module: Module) -> bool:
    """Whether anything inside has a gradient to collect."""
    return any(parameter.trainable for parameter in module.parameters())
