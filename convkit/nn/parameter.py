"""The arrays that modules are made of: `Buffer`, and `Parameter`, which is learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import is_real, native, writable
from ._gradients import about_to_add
from ._loading import kind_of

if TYPE_CHECKING:
    from .module import Module


class Buffer:
    """An array of a module's state. By itself it is not learned, like the running statistics of batch normalisation.

    Parameters
    ----------
    data : ndarray
        The values, kept and not copied unless their byte order is foreign; `Module.load_state_dict` and the module
        itself change them in place.

    Attributes
    ----------
    version : int
        How often `data` was changed: by the module, by loading, or by assigning, as ``data *= 2`` does.

    Raises
    ------
    TypeError
        If `data` is not an array.

    Examples
    --------
    >>> from convkit import nn
    >>> layer = nn.BatchNorm1d(3)
    >>> layer.running_mean
    Buffer(shape=(3,), dtype=float32)
    """

    version = 0
    data: np.ndarray

    def __init__(self, data: np.ndarray) -> None:
        vars(self)["data"] = self._taken(data)  # the first is no change

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "data":
            value = self._taken(value)
            self.version += 1
        super().__setattr__(name, value)

    @staticmethod
    def _taken(data: np.ndarray) -> np.ndarray:
        if not isinstance(data, np.ndarray):
            raise TypeError(f"data must be an ndarray, got {kind_of(data)}")
        return native(data)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update((name, writable(value)) for name, value in state.items())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `data`."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type of `data`."""
        return self.data.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.data.size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"


class Parameter(Buffer):
    """An array that is learned, and its gradient.

    Parameters
    ----------
    data : ndarray of float32 or float64
        The values, kept and not copied unless their byte order is foreign; optimizers change them in place. Where they
        are read-only (``np.load(file, mmap_mode="r")``), everything but training goes.
    trainable : bool, default True
        False freezes the parameter: its gradient is not computed and optimizers leave it alone.

    Attributes
    ----------
    grad : ndarray or None
        The sum of the gradients since the last `zero_grad`, of the shape and dtype of `data`; None before the first.
    version : int
        How often `data` was changed: by an optimizer, by loading (averages that are swapped in, too) or by assigning,
        as ``data *= 2`` does. What is written into the array itself (``data[0] = 1``) is not seen: add 1 then.
        A backward whose forward read another version, and a prepared network, then raise.

    Raises
    ------
    TypeError
        If `data` is not an array of float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> weight = nn.Parameter(np.zeros(2))
    >>> weight.accumulate(np.array([1.0, 2.0]))
    >>> weight.accumulate(np.array([1.0, 1.0]))
    >>> weight, weight.grad
    (Parameter(shape=(2,), dtype=float64), array([2., 3.]))
    """

    def __init__(self, data: np.ndarray, trainable: bool = True) -> None:
        super().__init__(data)
        self.grad: np.ndarray | None = None
        self.trainable = trainable

    @staticmethod
    def _taken(data: np.ndarray) -> np.ndarray:
        if not isinstance(data, np.ndarray) or not is_real(data.dtype):
            raise TypeError(f"data must be an ndarray of float32 or float64, got {kind_of(data)}")
        return native(data)

    def accumulate(self, grad: np.ndarray) -> None:
        """Add `grad` to the gradient; a frozen parameter ignores it.

        Parameters
        ----------
        grad : ndarray
            Of the shape and dtype of `data`. The first one after `zero_grad` is kept without a copy, so it has to be a
            fresh array, as every backward of `convkit` returns.

        Raises
        ------
        TypeError
            If `grad` is not an array, or of another dtype.
        ValueError
            If the shape is another one: broadcasting would hide the mistake.
        """
        if not self.trainable:
            return
        given = isinstance(grad, np.ndarray | np.generic)  # of sums over everything NumPy makes numbers
        if not given or grad.dtype.newbyteorder("=") != self.data.dtype:
            raise TypeError(f"grad must be an array of the parameter's dtype {self.dtype}, got {kind_of(grad)}")
        grad = np.asarray(grad, self.data.dtype)
        if grad.shape != self.data.shape:
            raise ValueError(f"grad must have the parameter's shape {self.shape}, got {grad.shape}")
        about_to_add(self)
        if self.grad is None:
            self.grad = writable(grad)
        else:
            self.grad += grad

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self.dtype}{'' if self.trainable else ', frozen'})"


def inside(module: Module) -> Iterator[Parameter]:
    """Yield every parameter as often as it stands inside."""
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, Parameter):
                yield value


def learns(module: Module) -> bool:
    """Whether anything inside has a gradient to collect."""
    for parameter in inside(module):
        if parameter.trainable:
            return True
    return False


def dtype_of(model: Module) -> np.dtype:
    """The dtype of a model's parameters or, if it has none, of its buffers of real numbers; else float32."""
    arrays = (*model.parameters(), *(buffer for _, buffer in model.named_buffers()))
    return next((array.dtype for array in arrays if is_real(array.dtype)), np.dtype(np.float32))
