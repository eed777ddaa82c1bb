"""What every layer and model is made of: `Parameter`, `Buffer` and `Module`.

There is no graph and no tape. A layer's `forward` keeps the few arrays its `backward` needs, `backward` takes the
gradient of the loss with respect to the output, adds to the parameters' gradients and returns the gradient with respect
to the input; a container calls its layers' `backward` in reverse. Gradients are those of `convkit`'s own operators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._arrays import is_real, native, writable
from .._range import converted


class Buffer:
    """An array of a module's state. By itself it is not learned, like the running statistics of batch normalisation.

    Parameters
    ----------
    data : ndarray
        The values, kept and not copied unless their byte order is foreign; `Module.load_state_dict` and the module
        itself change them in place.
    """

    def __init__(self, data: np.ndarray) -> None:
        self.data = native(data)

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

    Raises
    ------
    TypeError
        If `data` is not an array of float32 or float64.
    """

    def __init__(self, data: np.ndarray, trainable: bool = True) -> None:
        if not isinstance(data, np.ndarray) or not is_real(data.dtype):
            raise TypeError(f"data must be an ndarray of float32 or float64, got {_kind(data)}")
        super().__init__(data)
        self.grad: np.ndarray | None = None
        self.trainable = trainable

    def accumulate(self, grad: np.ndarray) -> None:
        """Add `grad` to the gradient; a frozen parameter ignores it.

        Parameters
        ----------
        grad : ndarray
            Of the shape of `data`. The first one after `zero_grad` is kept without a copy, so it has to be a fresh
            array, as every backward of `convkit` returns.

        Raises
        ------
        ValueError
            If the shape is another one: broadcasting would hide the mistake.
        """
        if not self.trainable:
            return
        if grad.shape != self.shape:
            raise ValueError(f"grad must have the parameter's shape {self.shape}, got {grad.shape}")
        if self.grad is None:
            self.grad = writable(grad)
        else:
            self.grad += grad

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self.dtype}{'' if self.trainable else ', frozen'})"


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` did not find a partner for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(ABC):
    """Base of layers and models.

    A layer is a constructor, a `forward` and a `backward`. Parameters, buffers and inner modules are found among the
    attributes, in the order in which the constructor sets them; lists of modules count too, as ``name.0``,
    ``name.1``...

    For the author of a layer there are four helpers: `keep` and `kept` carry arrays from forward to backward, `need`
    gives an operator's ``need=``, and `accumulate` adds the gradients it returned to the parameters of the same names::

        class Scale(Module):
            def __init__(self, channels):
                self.weight = Parameter(np.ones((1, channels, 1, 1), np.float32))

            def forward(self, x):
                self.keep(x)
                return x * self.weight.data

            def backward(self, grad, *, need_input=True):
                (x,) = self.kept(grad)
                self.weight.accumulate((grad * x).sum(axis=(0, 2, 3), keepdims=True))
                return grad * self.weight.data if need_input else None
    """

    training = True
    frozen = False
    _kept: tuple[Any, ...] | None = None
    _y_shape: tuple[int, ...] | None = None  # of the last call, for `kept` to compare with the gradient's

    @abstractmethod
    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute the output for a batch `x`, and keep what `backward` needs."""

    @abstractmethod
    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Go back through the last `forward`.

        Parameters
        ----------
        grad : ndarray
            Gradient of the loss with respect to the output, of the output's shape and dtype.
        need_input : bool
            Whether the input's gradient is wanted. True by default for a layer. `Sequential`, which mostly is a whole
            model, has False: it never computes what nothing below will use.

        Returns
        -------
        ndarray or None
            Gradient with respect to the input; None if it was not wanted. Parameter gradients are added to
            `Parameter.grad`.

        Raises
        ------
        RuntimeError
            If there was no forward; one forward serves one backward.
        ValueError
            If `grad` has not the output's shape.
        """

    def __call__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        try:
            y = self.forward(*args, **kwargs)
        except (TypeError, ValueError) as error:
            self._note_layer(error)
            raise
        self._y_shape = np.shape(y[0] if isinstance(y, tuple) else y)
        return y

    def _note_layer(self, error: Exception) -> None:
        """Let the error's note say which layer of this module it came from, by its path in `state_dict`."""
        layer = vars(error).setdefault("layer", self)
        path = next((path for path, module in self.named_modules() if module is layer), "")
        if path:
            notes = [note for note in getattr(error, "__notes__", ()) if not note.startswith("in layer ")]
            error.__notes__ = [*notes, f"in layer {path!r}: {type(layer).__name__}({layer.describe()})"]

    # ---------------------------------------------------------------- for the author of a layer

    def keep(self, *arrays: Any) -> None:
        """Keep arrays (by reference) for the coming `backward`."""
        self._kept, self._y_shape = arrays, None

    def kept(self, grad: np.ndarray) -> tuple[Any, ...]:
        """Hand over, once, what `forward` kept, if `grad`, what `backward` was given, fits the output."""
        name = type(self).__name__
        if grad is None:
            raise TypeError(
                f"grad must be an array, got None in {name}.backward; a Sequential's backward returns its input's "
                "gradient only with need_input=True"
            )
        if self._kept is None:
            raise RuntimeError(
                f"{name}.backward: nothing to go back through; call forward first, once for each backward"
            )
        if self._y_shape is not None and np.shape(grad) != self._y_shape:
            raise ValueError(
                f"grad must have the output's shape {self._y_shape}, got {np.shape(grad)} in {name}.backward"
            )
        arrays, self._kept = self._kept, None
        return arrays

    def need(self, need_input: bool) -> tuple[str, ...]:
        """Names for an operator's ``need=``: x if its gradient is wanted, and the layer's own parameters that learn."""
        learning = (name for name, value in vars(self).items() if isinstance(value, Parameter) and value.trainable)
        return ("x", *learning) if need_input else tuple(learning)

    def accumulate(self, grads: NamedTuple) -> None:
        """Add an operator's gradients to the parameters of the same names."""
        for name, grad in grads._asdict().items():
            parameter = getattr(self, name, None)
            if grad is not None and isinstance(parameter, Parameter):
                parameter.accumulate(grad)

    # ---------------------------------------------------------------- the tree of modules

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the name and module of every direct part."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(value) if isinstance(part, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield the path and module of this module and of every one inside, depth first."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """Yield this module and every one inside."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "", *, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yield the path and `Parameter` of every parameter, frozen ones too.

        A parameter that two layers share comes once, under its first name, unless `remove_duplicate` is False.
        """
        for name, value in self._named_arrays(prefix, remove_duplicate):
            if isinstance(value, Parameter):
                yield name, value

    def named_buffers(self, prefix: str = "", *, remove_duplicate: bool = True) -> Iterator[tuple[str, Buffer]]:
        """Yield the path and `Buffer` of every buffer: what a model keeps besides its parameters."""
        for name, value in self._named_arrays(prefix, remove_duplicate):
            if not isinstance(value, Parameter):
                yield name, value

    def _named_arrays(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Buffer]]:
        """Yield the path of every parameter and buffer and the thing itself, in `state_dict`'s order."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix):
            for name, value in vars(module).items():
                if isinstance(value, Buffer) and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter once, frozen ones too."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Forget the gradients: every `Parameter.grad` becomes None, as in PyTorch."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Module:
        """Set this module and all inside, but frozen ones, to training (with False, to evaluation) and return it."""
        for module in self.modules():
            module.training = mode and not module.frozen
        return self

    def eval(self) -> Module:
        """Set this module and all inside to evaluation and return it."""
        return self.train(False)

    def freeze(self, frozen: bool = True) -> Module:
        """Keep this module and all inside as they are, whatever is trained around them, and return it.

        No parameter learns, and `train` leaves frozen modules in evaluation: batch normalisation keeps its running
        statistics and goes by them, dropout drops nothing. With False they learn again after the next `train`.
        """
        for parameter in self.parameters():
            parameter.trainable = not frozen
        for module in self.modules():
            module.frozen = frozen
            module.training = module.training and not frozen
        return self

    # ---------------------------------------------------------------- weights in and out

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return every parameter's and buffer's array under its path, ``"0.weight"``; names and shapes are PyTorch's.

        As in PyTorch the arrays are the module's own, not copies; training on changes them.
        """
        return {name: value.data for name, value in self._named_arrays(remove_duplicate=False)}

    def load_state_dict(self, state: Mapping[str, np.ndarray], strict: bool = True) -> IncompatibleKeys:
        """Copy arrays into the parameters and buffers of the same names.

        Everything is checked first: after an error nothing has changed.

        Parameters
        ----------
        state : mapping of str to array
            As `state_dict` returns it, or as `convkit.nn.load_state` reads it from a file, PyTorch's too. float32 and
            float64, of either byte order, are converted into each other, integers of any size into the module's.
            Infinity and NaN are taken as they are.
        strict : bool, default True
            Whether a name that only one side has is an error. A wrong shape always is.

        Returns
        -------
        IncompatibleKeys
            Names that only the model has (`missing_keys`) and that only `state` has (`unexpected_keys`).

        Raises
        ------
        TypeError
            If `state` is not a mapping, or a value is not of float32 or float64 (of integers, where the module counts).
        ValueError
            If names or shapes disagree, the module's dtype cannot hold a value (1e300 is more than float32's range), or
            an array of the module is read-only; the message lists every entry with what was expected and what was got.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping of names to arrays, got {_kind(state)}")
        own = self.state_dict()
        keys = IncompatibleKeys(
            [name for name in own if name not in state], [name for name in state if name not in own]
        )
        new = {name: np.asarray(state[name]) for name in own if name in state}
        for name, value in new.items():
            _check_kind(name, value, own[name].dtype)
        wrong = []
        for name, value in new.items():
            if value.shape != own[name].shape:
                wrong.append(f"{name!r}: expected shape {own[name].shape}, got {value.shape}")
                continue
            if not own[name].flags.writeable:
                wrong.append(f"{name!r}: expected an array to write to, got a read-only one in the model")
            try:
                new[name] = converted(value, own[name].dtype, repr(name))
            except ValueError as error:
                wrong.append(str(error))
        if strict:
            wrong += [f"{name!r}: expected shape {own[name].shape}, got no such key" for name in keys.missing_keys]
            wrong += [
                f"{name!r}: expected no such key, got shape {np.shape(state[name])}" for name in keys.unexpected_keys
            ]
        if wrong:
            raise ValueError("state must fit the model; " + "; ".join(wrong))
        homes = {id(_home(array)) for array in own.values()}
        new = {name: value.copy() if id(_home(value)) in homes else value for name, value in new.items()}
        for name, value in new.items():  # none is part of an array that an earlier one has overwritten
            np.copyto(own[name], value)
        return keys

    def describe(self) -> str:
        """Return the arguments that `repr` shows in the brackets."""
        return ""

    def __repr__(self) -> str:
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()]
        own = self.describe()
        inside = "\n" + "\n".join([f"  {own}"] * bool(own) + lines) + "\n" if lines else own
        return f"{type(self).__name__}({inside})"


def _check_kind(name: str, value: np.ndarray, dtype: np.dtype) -> None:
    """Raise unless an entry of a state may be converted to the dtype of the module's array."""
    if dtype.kind == "i" and value.dtype.kind not in "iu":
        raise TypeError(f"state[{name!r}] must be integers, got {value.dtype}")
    if dtype.kind == "f" and not is_real(value.dtype):
        raise TypeError(f"state[{name!r}] must be float32 or float64, got {value.dtype}; astype converts it")


def _home(array: np.ndarray) -> object:
    """Return what an array is a view of, or itself."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def _kind(value: object) -> str:
    """Name what a caller passed, for an error message."""
    return f"an ndarray of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
