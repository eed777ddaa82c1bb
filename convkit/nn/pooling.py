"""Pooling layers over `convkit`'s pooling operators, and max unpooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import _options
from .._mode import keeping
from .._pool_shapes import PoolShape, adaptive_out, plain_output_size, unpooled, windows
from .._shapes import image_shape, paddings, per_axis, plain_padding, split_image
from .._windows import Window
from ..ops import adaptive_pool as adapt
from ..ops import pool, unpool
from ._axes import ForAxes
from ._describe import alike, unusual
from ._symbols import on_images, pads
from .module import Way


class _Pool(ForAxes):
    """What pooling has in common: the operator and its gradient, their options, and how they are shown."""

    _op: str  # ONNX's, or for adaptive pooling, which it has not, convkit's own

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: int | str | tuple
    dilation: tuple[int, ...]
    ceil_mode: bool
    layout: str

    def _set_up(self, kernel_size, stride, padding, dilation, ceil_mode, layout: str) -> None:
        """Check everything that can be wrong without an image."""
        nd = self._nd
        self.kernel_size = per_axis(kernel_size, nd, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else per_axis(stride, nd, "stride", 1)
        self.dilation = per_axis(dilation, nd, "dilation", 1)
        self.padding, self.ceil_mode = plain_padding(padding), _options.flag(ceil_mode, "ceil_mode")
        self.layout, _ = layout, _options.channel_last(layout)
        self._moves(tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)))

    def _moves(self, in_: tuple[int, ...]) -> PoolShape:
        """All sizes, of an image of these."""
        moves = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return windows(self._nd, (1, 1, *in_), *moves, channel_last=False)

    def _sizes(self, in_: tuple[int, ...]) -> tuple[int, ...]:
        return self._moves(in_).out

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(N, C, *spatial)``."""
        last = self.layout == "NHWC"
        n, channels, in_ = split_image(x_shape, self._nd, "x", last)
        return image_shape(n, channels, self._sizes(in_), last, len(x_shape) == self._nd + 2)

    def windows(self, in_: tuple[int, ...], out: tuple[int, ...]) -> Sequence[Window]:
        """The window, which moves over the input."""
        shape = self._moves(in_)
        return list(map(Window.moving, shape.kernel, shape.stride, shape.dilation, shape.pad_lo))

    def symbolic(self, x: Any, *more: Any, **options: Any) -> Any:
        """The same of a value."""
        if more or options or getattr(self, "return_indices", False):
            raise TypeError(f"{type(self).__name__} with indices has no node in a graph")
        return on_images(x, self._nd, self.layout, lambda x: x.emit(self._op, **self._attributes()))

    def _attributes(self) -> dict[str, Any]:
        """ONNX's."""
        sizes = {"kernel_shape": self.kernel_size, "strides": self.stride, "dilations": self.dilation}
        sizes |= pads(self.padding, self.kernel_size, self.dilation)
        return sizes | ({"ceil_mode": 1} if self.ceil_mode else {})

    def describe(self) -> str:
        """Return the size of the window, and what is not the default."""
        others = self._chosen()
        kernel, stride = others.pop("kernel_size"), others.pop("stride")
        moved = unusual(({} if stride == kernel else {"stride": stride}) | others, self._forward)
        return f"kernel_size={alike(kernel)!r}{moved}"


def _maxima(
    x: np.ndarray, forward: Callable, backward: Callable, return_indices: bool, layout: str
) -> tuple[np.ndarray | tuple[np.ndarray, np.ndarray], Way | None]:
    """Maxima by an operator, and the way back to the elements that they were; without one, no places are found."""
    if not (return_indices or keeping()):
        return forward(x), None
    (y, indices), shape = forward(x, return_indices=True), x.shape
    return (y, indices) if return_indices else y, lambda grad, _: backward(grad, indices, shape, layout=layout)


class _MaxPool(_Pool):
    _operators = pool, "max_pool"
    _doc = """Maximum over moving windows, by `convkit.max_pool{nd}d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode, layout
        Passed on to `convkit.max_pool{nd}d`; `stride` is by default `kernel_size`.
    return_indices : bool, default False
        Whether it returns ``(y, indices)``, as `MaxUnpool{nd}d` wants them; such a layer cannot stand in a chain.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> x = np.arange(8.0**{nd}).reshape(1, 1, {eights})
    >>> y, indices = nn.MaxPool{nd}d(2, return_indices=True)(x)
    >>> y.shape, bool((y == indices).all())  # the largest element of each window, and where it was
    ((1, 1, {fours}), True)
    """

    _op = "MaxPool"
    _passed = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "layout")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | str | Sequence = 0,
        dilation: int | Sequence[int] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        layout: str = "NCHW",
    ) -> None:
        self._set_up(kernel_size, stride, padding, dilation, ceil_mode, layout)
        self.return_indices = _options.flag(return_indices, "return_indices")

    def run(self, x: np.ndarray) -> tuple[np.ndarray | tuple[np.ndarray, np.ndarray], Way | None]:
        """Take the maximum of every window of ``(N, C, *spatial)``; with `return_indices`, say where it was, too."""
        return _maxima(x, partial(self._forward, **self._chosen()), self._backward, self.return_indices, self.layout)


class _AvgPool(_Pool):
    _operators = pool, "avg_pool"
    _doc = """Mean over moving windows, by `convkit.avg_pool{nd}d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad, dilation, layout
        Passed on to `convkit.avg_pool{nd}d`; `stride` is by default `kernel_size`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> x = np.ones((1, 1, {fours}))
    >>> nn.AvgPool{nd}d(2)(x).shape
    (1, 1, {twos})
    >>> float(nn.AvgPool{nd}d(3, 1, padding=1)(x).min()) < 1  # zeros of the padding count
    True
    >>> float(nn.AvgPool{nd}d(3, 1, padding=1, count_include_pad=False)(x).min())
    1.0
    """

    _op = "AveragePool"
    _passed = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "count_include_pad", "layout")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | str | Sequence = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        dilation: int | Sequence[int] = 1,
        layout: str = "NCHW",
    ) -> None:
        self._set_up(kernel_size, stride, padding, dilation, ceil_mode, layout)
        self.count_include_pad = _options.flag(count_include_pad, "count_include_pad")

    def _attributes(self) -> dict[str, Any]:
        return super()._attributes() | {"count_include_pad": int(self.count_include_pad)}

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Take the mean of every window of ``(N, C, *spatial)``; back, share each gradient out evenly among them."""
        shape, options = x.shape, self._chosen()
        return self._forward(x, **options), lambda grad, _: self._backward(grad, shape, **options)


class _AdaptiveAvgPool(_Pool):
    _operators = adapt, "adaptive_avg_pool"
    _doc = """Mean over windows that give a wanted output size, by `convkit.adaptive_avg_pool{nd}d`.

    Parameters
    ----------
    output_size : int, None, or a tuple of {nd} of them
        Spatial size of the output; None keeps the input's.
    layout : {{"NCHW", "NHWC"}}

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.AdaptiveAvgPool{nd}d(3)(np.ones((1, 4, {eights}))).shape
    (1, 4, {threes})
    """

    _op = "AdaptiveAveragePool"

    def __init__(self, output_size: int | None | Sequence[int | None], *, layout: str = "NCHW") -> None:
        self.output_size, self.layout = plain_output_size(output_size), layout
        _options.channel_last(layout)
        self._sizes((1,) * self._nd)

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Take the means of as many windows of ``(N, C, *spatial)`` as are asked for."""
        shape, layout = x.shape, self.layout
        y = self._forward(x, self.output_size, layout=layout)
        return y, lambda grad, _: self._backward(grad, shape, layout=layout)

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        if getattr(self, "return_indices", False):
            raise TypeError(f"{type(self).__name__} with indices has no node in a graph")
        size = self.output_size
        if size == 1 or (isinstance(size, tuple) and set(size) == {1}):
            name = {"AdaptiveAveragePool": "GlobalAveragePool", "AdaptiveMaxPool": "GlobalMaxPool"}[self._op]
            return on_images(x, self._nd, self.layout, lambda x: x.emit(name))
        return on_images(x, self._nd, self.layout, lambda x: x.emit(self._op, output_size=size))

    def _sizes(self, in_: tuple[int, ...]) -> tuple[int, ...]:
        return adaptive_out(in_, self.output_size)

    def windows(self, in_: tuple[int, ...], out: tuple[int, ...]) -> Sequence[Window]:
        """The share of the input that an output has."""
        return list(map(Window.adaptive, in_, out))

    def describe(self) -> str:
        """Return the size of the output."""
        return f"output_size={self.output_size!r}{'' if self.layout == 'NCHW' else f', layout={self.layout!r}'}"


class _AdaptiveMaxPool(_AdaptiveAvgPool):
    _operators = adapt, "adaptive_max_pool"
    _doc = """Maximum over windows that give a wanted output size, by `convkit.adaptive_max_pool{nd}d`.

    Parameters
    ----------
    output_size : int, None, or a tuple of {nd} of them
        Spatial size of the output; None keeps the input's.
    return_indices : bool, default False
        Whether it returns ``(y, indices)``; such a layer cannot stand in a chain.
    layout : {{"NCHW", "NHWC"}}

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.AdaptiveMaxPool{nd}d(3)(np.ones((1, 4, {eights}))).shape
    (1, 4, {threes})
    """

    _op = "AdaptiveMaxPool"

    def __init__(
        self, output_size: int | None | Sequence[int | None], return_indices: bool = False, *, layout: str = "NCHW"
    ) -> None:
        super().__init__(output_size, layout=layout)
        self.return_indices = _options.flag(return_indices, "return_indices")

    def run(self, x: np.ndarray) -> tuple[np.ndarray | tuple[np.ndarray, np.ndarray], Way | None]:
        """Take the maxima of as many windows of ``(N, C, *spatial)`` as are asked for."""
        forward = partial(self._forward, output_size=self.output_size, layout=self.layout)
        return _maxima(x, forward, self._backward, self.return_indices, self.layout)


class _GlobalAvgPool(_AdaptiveAvgPool):
    _operators = adapt, "adaptive_avg_pool"
    _doc = """Mean of every channel of an image: ``(N, C, *spatial)`` to ``(N, C, {ones})``.

    Parameters
    ----------
    layout : {{"NCHW", "NHWC"}}

    References
    ----------
    M. Lin, Q. Chen, S. Yan: Network in network, 2013, arXiv:1312.4400.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> x = np.zeros((1, 2, {eights}))
    >>> x[0, 1, :4] = 1
    >>> nn.GlobalAvgPool{nd}d()(x).shape, nn.GlobalAvgPool{nd}d()(x).ravel()
    ((1, 2, {ones}), array([0. , 0.5]))
    """

    def __init__(self, *, layout: str = "NCHW") -> None:
        super().__init__(1, layout=layout)


class _GlobalMaxPool(_AdaptiveMaxPool):
    _operators = adapt, "adaptive_max_pool"
    _doc = """Maximum of every channel of an image: ``(N, C, *spatial)`` to ``(N, C, {ones})``.

    Parameters
    ----------
    layout : {{"NCHW", "NHWC"}}

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> x = np.zeros((1, 2, {eights}))
    >>> x[0, 1, :4] = 1
    >>> nn.GlobalMaxPool{nd}d()(x).shape, nn.GlobalMaxPool{nd}d()(x).ravel()
    ((1, 2, {ones}), array([0., 1.]))
    """

    def __init__(self, *, layout: str = "NCHW") -> None:
        super().__init__(1, layout=layout)


class _MaxUnpool(_Pool):
    _operators = unpool, "max_unpool"
    _doc = """Partial inverse of `MaxPool{nd}d`, by `convkit.max_unpool{nd}d`; it takes the indices as well.

    Parameters
    ----------
    kernel_size, stride, padding, layout
        As those of the pooling layer.

    References
    ----------
    M. D. Zeiler, G. W. Taylor, R. Fergus: Adaptive deconvolutional networks for mid and high level feature learning,
    ICCV 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> pool, unpool = nn.MaxPool{nd}d(2, return_indices=True), nn.MaxUnpool{nd}d(2)
    >>> x = np.arange(8.0**{nd}).reshape(1, 1, {eights})
    >>> y, indices = pool(x)
    >>> z = unpool(y, indices)
    >>> z.shape, bool(((z == x) | (z == 0)).all())
    ((1, 1, {eights}), True)
    """

    _passed = ("kernel_size", "stride", "padding", "layout")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | str | Sequence = 0,
        *,
        layout: str = "NCHW",
    ) -> None:
        self._set_up(kernel_size, stride, padding, 1, False, layout)

    def run(
        self, x: np.ndarray, indices: np.ndarray, output_size: int | Sequence[int] | None = None
    ) -> tuple[np.ndarray, Way]:
        """Put values ``(N, C, *spatial)`` where `indices`, of a max pooling layer, say; zeros everywhere else.

        Back, fetch each value's gradient from where the value was put.
        """
        y, layout = self._forward(x, indices, output_size=output_size, **self._chosen()), self.layout
        return y, lambda grad, _: self._backward(grad, indices, layout=layout)

    def _sizes(self, in_: tuple[int, ...]) -> tuple[int, ...]:
        return unpooled(self._nd, (1, 1, *in_), self.kernel_size, self.stride, self.padding, None, False)

    def windows(self, in_: tuple[int, ...], out: tuple[int, ...]) -> Sequence[Window]:
        """The inputs whose window an output lies in."""
        low, _ = paddings(self.padding, in_, self.kernel_size, self.stride, self.dilation)
        return list(map(Window.scattered, out, self.kernel_size, self.stride, self.dilation, low))


class MaxPool1d(_MaxPool, nd=1): ...


class MaxPool2d(_MaxPool, nd=2): ...


class MaxPool3d(_MaxPool, nd=3): ...


class AvgPool1d(_AvgPool, nd=1): ...


class AvgPool2d(_AvgPool, nd=2): ...


class AvgPool3d(_AvgPool, nd=3): ...


class AdaptiveAvgPool1d(_AdaptiveAvgPool, nd=1): ...


class AdaptiveAvgPool2d(_AdaptiveAvgPool, nd=2): ...


class AdaptiveAvgPool3d(_AdaptiveAvgPool, nd=3): ...


class AdaptiveMaxPool1d(_AdaptiveMaxPool, nd=1): ...


class AdaptiveMaxPool2d(_AdaptiveMaxPool, nd=2): ...


class AdaptiveMaxPool3d(_AdaptiveMaxPool, nd=3): ...


class GlobalAvgPool1d(_GlobalAvgPool, nd=1): ...


class GlobalAvgPool2d(_GlobalAvgPool, nd=2): ...


class GlobalAvgPool3d(_GlobalAvgPool, nd=3): ...


class GlobalMaxPool1d(_GlobalMaxPool, nd=1): ...


class GlobalMaxPool2d(_GlobalMaxPool, nd=2): ...


class GlobalMaxPool3d(_GlobalMaxPool, nd=3): ...


class MaxUnpool1d(_MaxUnpool, nd=1): ...


class MaxUnpool2d(_MaxUnpool, nd=2): ...


class MaxUnpool3d(_MaxUnpool, nd=3): ...
