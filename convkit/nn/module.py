"""`Module`, which every layer and model is.

There is no graph and no tape. A call of a layer gives its output and the way back through that call: a function that
takes the gradient of the loss with respect to the output, adds to the parameters' gradients and returns the gradient
with respect to the input; a container takes its layers' ways back in reverse. Gradients are those of `convkit`'s own
operators.
"""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .._mode import entered, how, keeping
from .._windows import Window
from .._words import brief
from ._back import NOTHING_DUE, Back, Way, nothing_kept
from ._loading import fitting, kind_of
from .parameter import Buffer, Parameter, dtype_of, inside

if TYPE_CHECKING:
    from ..graph import Network


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` did not find a partner for.

    Examples
    --------
    >>> from convkit import nn
    >>> layer = nn.Linear(3, 2, rng=0)
    >>> layer.load_state_dict({"weight": layer.weight.data, "scale": layer.bias.data}, strict=False)
    IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['scale'])
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


class _Part:
    """What a module is among attributes: to ask for a class with an ABC's metaclass takes ten times as long."""


# What most attributes are: every step walks through all of a model's.
_NO_PARTS = frozenset((bool, int, float, str, type(None), Buffer, Parameter, threading.local))


def _signature(cls: type) -> inspect.Signature:
    """That of `__init__`, which `help` and editors show: they would find that of `__new__`, which takes anything."""
    if cls.__init__ is object.__init__:
        return inspect.Signature()
    signature = inspect.signature(cls.__init__)
    return signature.replace(parameters=[*signature.parameters.values()][1:], return_annotation=inspect.Signature.empty)


class Module(_Part, ABC):
    """Base of layers and models.

    A layer is a constructor and `run`, one function that computes the output and returns it together with the way back:
    a function that takes the output's gradient, adds to the parameters' and returns the input's. What it needs of the
    forward it finds in its closure; the layer itself stays as it is, so it may stand in several places of a model, and
    several threads may use it.

    Parameters, buffers and inner modules are found among the attributes, in the order in which the constructor sets
    them; lists of modules count too, as ``name.0``, ``name.1``... A module made of others calls their `begin`, and its
    way back theirs, in reverse. What `convkit.analysis` is to know of a layer, it says in `output_shape`, `flops` and
    `windows`; one that works element by element inherits them from `ByElement`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self, channels):
    ...         self.weight = nn.Parameter(np.ones((1, channels, 1, 1), np.float32))
    ...
    ...     def run(self, x):
    ...         weight = self.weight.data
    ...
    ...         def back(grad, need_input):
    ...             self.weight.accumulate((grad * x).sum(axis=(0, 2, 3), keepdims=True))
    ...             return grad * weight
    ...
    ...         return x * weight, back
    >>> model, x = nn.Sequential(Scale(2), nn.ReLU()), np.ones((1, 2, 4, 4), np.float32)
    >>> model(x).shape, model.backward(x).shape, model[0].weight.grad.ravel()
    ((1, 2, 4, 4), (1, 2, 4, 4), array([16., 16.], dtype=float32))
    """

    frozen = False
    decays = True  # whether weight decay suits its parameters, see `convkit.optim.decay_groups`
    __signature__: ClassVar[inspect.Signature]
    _by_element = False
    _training = True
    _latest: threading.local  # its `back`: the way back through the thread's latest call

    def __new__(cls, *args: Any, **kwargs: Any) -> Module:
        if (args or kwargs) and cls.__init__ is object.__init__:  # which says nothing where there is a __new__
            given = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
            raise TypeError(f"{cls.__name__} takes no arguments, got {given}")
        code = getattr(cls.__init__, "__code__", None)
        if args and code is not None and code.co_argcount == 1 and not code.co_flags & inspect.CO_VARARGS:
            raise TypeError(f"{cls.__name__} takes no arguments but by name, got {', '.join(map(repr, args))}")
        module = super().__new__(cls)
        module._latest = threading.local()
        return module

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__signature__ = _signature(cls)
        given = [name for name in ("forward", "backward") if name in vars(cls)]
        if given:
            raise TypeError(
                f"{cls.__name__} must define run, got {' and '.join(given)}: write one function run(self, x) that "
                "returns the output and the way back, back(grad, need_input), which adds to the parameters' gradients "
                "and returns the input's; of layers that follow one another an nn.Sequential does both, and "
                "run returns self.layers.begin(x)"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_latest"}  # a backward due stays behind

    @abstractmethod
    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Compute the output for a batch `x`; what the author of a layer writes, and `begin` calls.

        Nothing in the layer may change but training state: running statistics, generators, and these only where
        `training` is True.

        Returns
        -------
        y : ndarray
            Or a tuple of them. `x` itself may be returned, or a view of it.
        back : function
            ``back(grad, need_input)``: adds to the parameters' gradients and returns the input's, which may be left
            out (None) where `need_input` is False. It is called once at most, with a gradient of the output's shape,
            into which it does not write; not at all where there is nothing to learn and no gradient wanted.
        """

    def begin(self, *args: Any, **kwargs: Any) -> tuple[Any, Callable[..., Any]]:
        """Compute the output, and hand out the way back through this very call.

        Returns
        -------
        y : ndarray
        back : function
            ``back(grad, need_input=True)``, as `backward`. Any number of calls may be under way; each way back is
            taken once, in any order, as long as no parameter has changed since (RuntimeError).

        Examples
        --------
        >>> import numpy as np
        >>> from convkit import nn
        >>> layer = nn.Tanh()
        >>> (y, back), (z, back_too) = layer.begin(np.zeros(2)), layer.begin(np.ones(2))
        >>> back(np.ones(2)), back_too(np.ones(2)).round(3)
        (array([1., 1.]), array([0.42, 0.42]))
        """
        return self._begin(self.run, *args, **kwargs)

    def _begin(self, run: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Callable[..., Any]]:
        """`begin` with this in place of `run`."""
        now = how.get()
        try:
            if now.tracer is not None:
                return now.tracer.call(self, args, kwargs), nothing_kept
            result = run(*args, **kwargs)
            if not (type(result) is tuple and len(result) == 2 and (result[1] is None or callable(result[1]))):
                expected = f"{type(self).__name__}.run must return the output and the way back"
                raise TypeError(f"{expected}, got {brief(result)}")
            y, back = result
            if self._by_element and args and getattr(y, "dtype", None) is not getattr(args[0], "dtype", None):
                self._check_dtype(args[0], y)
        except (TypeError, ValueError) as error:
            self._note_layer(error)
            raise
        for hook in now.hooks:
            if hook.forward is not None:
                seen = hook.forward(self, args, y)
                y = y if seen is None else seen
        return y, Back(self, back, args, y) if now.keeping else nothing_kept

    def _check_dtype(self, x: Any, y: Any) -> None:
        """Find a parameter of another dtype here, and not where the next layer refuses what it made."""
        arrays = [array for array in (x, y) if isinstance(array, np.ndarray)]
        floats = {array.dtype.name: None for array in arrays if array.dtype.kind == "f"}
        if len(floats) == 2:
            expected, got = floats
            named = f"{type(self).__name__}.run must return the dtype of its input, {expected}, got {got}"
            raise TypeError(f"{named}; a layer that converts is an nn.Module")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not keeping():
            return self.begin(*args, **kwargs)[0]
        self._latest.back = None  # nothing is due after an exception
        y, self._latest.back = self.begin(*args, **kwargs)
        return y

    def backward(self, grad: Any, *, need_input: bool = True) -> Any:
        """Go back through the calling thread's latest call.

        Parameters
        ----------
        grad : ndarray
            Gradient of the loss with respect to the output, of the output's shape and dtype.
        need_input : bool, default True
            Whether the input's gradient is wanted. Without it the lowest layer that learns does not compute it, and
            those below do nothing at all: ``model.backward(loss.grad, need_input=False)`` is a step of training.

        Returns
        -------
        ndarray or None
            Gradient with respect to the input; None if it was not wanted. Parameter gradients are added to
            `Parameter.grad`: all of them, or none, if anything on the way raises.

        Raises
        ------
        RuntimeError
            If there was no call, or it was gone back through already; if it was made under `inference`, or one of
            the parameters has changed since.
        ValueError
            If `grad` has not the output's shape.
        """
        back = getattr(self._latest, "back", None)
        if back is None:
            raise RuntimeError(NOTHING_DUE.format(type(self).__name__))
        dx = back(grad, need_input)
        self._latest.back = None
        return dx

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output in evaluation, and keep nothing; a backward that is due still is.

        No flag is touched: several threads may predict on one model, which gives each the same bits as alone.
        """
        with entered(keeping=False, evaluating=True):
            return self.begin(*args, **kwargs)[0]

    def _note_layer(self, error: Exception) -> None:
        """Let the error's note say which layer of this module it came from, by its path in `state_dict`."""
        if "layer" not in vars(error):
            self._blame_input(error)
        layer = vars(error).setdefault("layer", self)
        path = next((path for path, module in self.named_modules() if module is layer), "")
        if path:
            notes = [note for note in getattr(error, "__notes__", ()) if not note.startswith("in layer ")]
            error.__notes__ = [*notes, f"in layer {path!r}: {type(layer).__name__}({layer.describe()})"]

    def _blame_input(self, error: Exception) -> None:
        """Of two dtypes that differ an operator blames the second; to a layer its parameters are what is given."""
        name, dtype, first, got = getattr(error, "differing", (None, None, None, None))
        if name in vars(self) and first == "x":
            error.args = (f"x must have the dtype of the layer's {name}, {dtype}, got {got}; astype converts either",)

    # ---------------------------------------------------------------- for the author of a layer

    @property
    def training(self) -> bool:
        """Whether the layer is in training: `train` and `eval` set it, and under `predict` no layer is."""
        return self._training and not how.get().evaluating

    @training.setter
    def training(self, training: bool) -> None:
        self._training = training

    def need(self, need_input: bool) -> tuple[str, ...]:
        """Names for an operator's ``need=``: x if its gradient is wanted, and the layer's own parameters that learn."""
        own = vars(self).items()
        learning = [name for name, value in own if isinstance(value, Parameter) and value.trainable]
        return ("x", *learning) if need_input else tuple(learning)

    def accumulate(self, grads: NamedTuple) -> None:
        """Add an operator's gradients to the parameters of the same names."""
        for name, grad in zip(grads._fields, grads, strict=True):
            parameter = None if grad is None else getattr(self, name, None)
            if isinstance(parameter, Parameter):
                parameter.accumulate(grad)

    # ---------------------------------------------------------------- what a layer knows of itself

    def symbolic(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes in evaluation, in values of a graph (`convkit.graph.Value`) instead of arrays.

        By default what `run` does with values: arithmetic and NumPy's functions make nodes, and inner modules are asked
        in turn. A layer whose `run` calls more than these says itself what it is, by ``x.emit(op, *inputs, **attrs)``,
        operators, inputs and attributes being ONNX's.
        """
        return self.run(*args, **kwargs)[0]

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple:
        """The shape of the output for an input of that shape; where a layer does not say, it is run on zeros."""
        y = self.predict(np.zeros(x_shape, dtype_of(self)))
        return tuple(array.shape for array in y) if isinstance(y, tuple) else y.shape

    def flops(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int | None:
        """FLOPs of the layer's own arithmetic, one multiply-add = 2; None: those that its nodes have in a graph."""
        return None

    def windows(self, in_: tuple[int, ...], out: tuple[int, ...]) -> Sequence[Window] | None:
        """What outputs read of the input, a `Window` for each axis of these spatial sizes; None if it is not known.

        Asked of layers that have no nodes in a graph, since `symbolic` cannot say what they compute.
        """
        return None

    # ---------------------------------------------------------------- the tree of modules

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the name and module of every direct part."""
        for name, value in vars(self).items():
            if type(value) in _NO_PARTS:
                continue
            if isinstance(value, _Part):
                yield name, value
            elif isinstance(value, (list, tuple)):
                for i, part in enumerate(value):
                    if type(part) not in _NO_PARTS and isinstance(part, _Part):
                        yield f"{name}.{i}", part

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield the path and module of this module and of every one inside, depth first."""
        ahead = [(prefix, self)]
        while ahead:  # generators inside each other would hand every module up through all of them
            path, module = ahead.pop()
            yield path, module
            children = [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
            ahead += reversed(children)

    def modules(self) -> Iterator[Module]:
        """Yield this module and every one inside."""
        ahead: list[Module] = [self]
        while ahead:
            module = ahead.pop()
            yield module
            children = [child for _, child in module.named_children()]
            ahead += children[::-1]

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
        seen: set[int] = set()
        for parameter in inside(self):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter

    def zero_grad(self) -> None:
        """Forget the gradients: every `Parameter.grad` becomes None, as in PyTorch."""
        for parameter in inside(self):
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
            module.training = module._training and not frozen
        return self

    def prepare(self, input_shape: tuple[int, ...] | None = None) -> Network:
        """Return the model as a network for inference: fused, its weights laid out once, its memory known in advance.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Of a batch; by default that of the first call. Batches of other shapes may follow.

        Returns
        -------
        Network
            ``network(x)`` is ``model.predict(x)`` to rounding: normalisation is folded into weights, sums are formed in
            another order. It reads the model's weights where they lie, and raises once the `version` of one has
            changed. Weights written in place (``weight.data[0] = 1``) are not noticed: results may mix old and new.

        Raises
        ------
        TypeError
            If a layer computes what has no node in a graph, see `symbolic`.

        Examples
        --------
        >>> import numpy as np
        >>> from convkit import models
        >>> network = models.lenet5(rng=0).prepare((1, 1, 32, 32))
        >>> network(np.zeros((1, 1, 32, 32), np.float32)).shape
        (1, 10)
        """
        from ._prepare import prepare  # here, so that layers alone do not import the graph

        return prepare(self, input_shape)

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
            raise TypeError(f"state must be a mapping of names to arrays, got {kind_of(state)}")
        own = self.state_dict()
        keys = IncompatibleKeys(
            [name for name in own if name not in state], [name for name in state if name not in own]
        )
        new = fitting(own, state, keys if strict else None)
        for name, value in new.items():  # none is part of an array that an earlier one has overwritten
            np.copyto(own[name], value)
        for name, array in self._named_arrays(remove_duplicate=False):
            array.version += name in new
        return keys

    def describe(self) -> str:
        """Return the arguments that `repr` shows in the brackets."""
        return ""

    def __repr__(self) -> str:
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()]
        own = self.describe()
        text = "\n" + "\n".join([f"  {own}"] * bool(own) + lines) + "\n" if lines else own
        return f"{type(self).__name__}({text})"


class ByElement(Module):
    """Base of layers whose output has the input's shape and float dtype; for receptive fields, one element's affair.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> class Square(nn.ByElement):
    ...     def run(self, x):
    ...         return x * x, lambda grad, need_input: 2 * x * grad
    >>> square = Square()
    >>> square(np.array([1.0, 3.0])), square.backward(np.ones(2)), square.output_shape((8, 5))
    (array([1., 9.]), array([2., 6.]), (8, 5))
    """

    _by_element = True

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of the input."""
        return tuple(x_shape)

    def windows(self, in_: tuple[int, ...], out: tuple[int, ...]) -> Sequence[Window]:
        """Each element by itself."""
        return [Window()] * len(in_)
