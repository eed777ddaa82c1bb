"""Pooling layers over `convkit`'s pooling operators, and max unpooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from .. import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_backward,
    adaptive_max_pool1d,
    adaptive_max_pool1d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    adaptive_max_pool3d,
    adaptive_max_pool3d_backward,
    avg_pool1d,
    avg_pool1d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool3d,
    avg_pool3d_backward,
    max_pool1d,
    max_pool1d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool3d,
    max_pool3d_backward,
    max_unpool1d,
    max_unpool1d_backward,
    max_unpool2d,
    max_unpool2d_backward,
    max_unpool3d,
    max_unpool3d_backward,
)
from ._describe import unusual
from ._mode import keeping
from .module import Module, Way


class _Pool(Module):
    """What pooling over moving windows has in common: the options of the operator, and how they are shown."""

    _forward: Callable[..., np.ndarray]
    _backward: Callable[..., np.ndarray]

    def describe(self) -> str:
        """Return the size of the window, and what is not the default."""
        kernel_size, *others = self.options
        moved = unusual({name: self.options[name] for name in others}, self._forward)
        return f"kernel_size={self.options[kernel_size]!r}{moved}"


def _maxima(
    x: np.ndarray, forward: Callable, backward: Callable, return_indices: bool, layout: str
) -> tuple[np.ndarray | tuple[np.ndarray, np.ndarray], Way]:
    """Maxima by an operator, and the way back to the elements that they were; without one, no places are found."""
    if not (return_indices or keeping()):
        return forward(x), None
    (y, indices), shape = forward(x, return_indices=True), x.shape
    return (y, indices) if return_indices else y, lambda grad, _: backward(grad, indices, shape, layout=layout)


class _MaxPool(_Pool):
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
        self.options = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "ceil_mode": ceil_mode,
            "layout": layout,
        }
        self.return_indices, self.layout = return_indices, layout

    def run(self, x: np.ndarray) -> tuple[np.ndarray | tuple[np.ndarray, np.ndarray], Way]:
        """Take the maximum of every window of ``(N, C, *spatial)``; with `return_indices`, say where it was, too."""
        return _maxima(x, partial(self._forward, **self.options), self._backward, self.return_indices, self.layout)


class _AvgPool(_Pool):
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
        self.options = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
            "layout": layout,
        }

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Take the mean of every window of ``(N, C, *spatial)``; back, share each gradient out evenly among them."""
        shape, options = x.shape, self.options
        return self._forward(x, **options), lambda grad, _: self._backward(grad, shape, **options)


class _AdaptiveAvgPool(Module):
    _forward: Callable[..., np.ndarray]
    _backward: Callable[..., np.ndarray]

    def __init__(self, output_size: int | None | Sequence[int | None], *, layout: str = "NCHW") -> None:
        self.output_size, self.layout = output_size, layout

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Take the means of as many windows of ``(N, C, *spatial)`` as are asked for."""
        shape, layout = x.shape, self.layout
        y = self._forward(x, self.output_size, layout=layout)
        return y, lambda grad, _: self._backward(grad, shape, layout=layout)

    def describe(self) -> str:
        """Return the size of the output."""
        return f"output_size={self.output_size!r}{'' if self.layout == 'NCHW' else f', layout={self.layout!r}'}"


class _AdaptiveMaxPool(_AdaptiveAvgPool):
    def __init__(
        self, output_size: int | None | Sequence[int | None], return_indices: bool = False, *, layout: str = "NCHW"
    ) -> None:
        super().__init__(output_size, layout=layout)
        self.return_indices = return_indices

    def run(self, x: np.ndarray) -> tuple[np.ndarray | tuple[np.ndarray, np.ndarray], Way]:
        """Take the maxima of as many windows of ``(N, C, *spatial)`` as are asked for."""
        forward = partial(self._forward, output_size=self.output_size, layout=self.layout)
        return _maxima(x, forward, self._backward, self.return_indices, self.layout)


class _GlobalAvgPool(_AdaptiveAvgPool):
    def __init__(self, *, layout: str = "NCHW") -> None:
        super().__init__(1, layout=layout)


class _GlobalMaxPool(_AdaptiveMaxPool):
    def __init__(self, *, layout: str = "NCHW") -> None:
        super().__init__(1, layout=layout)


class _MaxUnpool(_Pool):
    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | str | Sequence = 0,
        *,
        layout: str = "NCHW",
    ) -> None:
        self.options = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "layout": layout}

    def run(
        self, x: np.ndarray, indices: np.ndarray, output_size: int | Sequence[int] | None = None
    ) -> tuple[np.ndarray, Way]:
        """Put values ``(N, C, *spatial)`` where `indices`, of a max pooling layer, say; zeros everywhere else.

        Back, fetch each value's gradient from where the value was put.
        """
        y, layout = self._forward(x, indices, output_size=output_size, **self.options), self.options["layout"]
        return y, lambda grad, _: self._backward(grad, indices, layout=layout)


_MAX_DOC = """Maximum over moving windows, by `convkit.max_pool{nd}d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode, layout
        Passed on to `convkit.max_pool{nd}d`; `stride` is by default `kernel_size`.
    return_indices : bool, default False
        Whether it returns ``(y, indices)``, as `MaxUnpool{nd}d` wants them; such a layer cannot stand in a chain.
    """

_AVG_DOC = """Mean over moving windows, by `convkit.avg_pool{nd}d`.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad, dilation, layout
        Passed on to `convkit.avg_pool{nd}d`; `stride` is by default `kernel_size`.
    """

_ADAPTIVE_AVG_DOC = """Mean over windows that give a wanted output size, by `convkit.adaptive_avg_pool{nd}d`.

    Parameters
    ----------
    output_size : int, None, or a tuple of {nd} of them
        Spatial size of the output; None keeps the input's.
    layout : {{"NCHW", "NHWC"}}
    """

_ADAPTIVE_MAX_DOC = """Maximum over windows that give a wanted output size, by `convkit.adaptive_max_pool{nd}d`.

    Parameters
    ----------
    output_size : int, None, or a tuple of {nd} of them
        Spatial size of the output; None keeps the input's.
    return_indices : bool, default False
        Whether it returns ``(y, indices)``; such a layer cannot stand in a chain.
    layout : {{"NCHW", "NHWC"}}
    """

_GLOBAL_AVG_DOC = """Mean of every channel of an image: ``(N, C, *spatial)`` to ``(N, C, {ones})``.

    Parameters
    ----------
    layout : {{"NCHW", "NHWC"}}

    References
    ----------
    M. Lin, Q. Chen, S. Yan: Network in network, 2013, arXiv:1312.4400.
    """

_GLOBAL_MAX_DOC = """Maximum of every channel of an image: ``(N, C, *spatial)`` to ``(N, C, {ones})``.

    Parameters
    ----------
    layout : {{"NCHW", "NHWC"}}
    """

_UNPOOL_DOC = """Partial inverse of `MaxPool{nd}d`, by `convkit.max_unpool{nd}d`; it takes the indices as well.

    Parameters
    ----------
    kernel_size, stride, padding, layout
        As those of the pooling layer.

    References
    ----------
    M. D. Zeiler, G. W. Taylor, R. Fergus: Adaptive deconvolutional networks for mid and high level feature learning,
    ICCV 2011.
    """


class MaxPool1d(_MaxPool):
    __doc__ = _MAX_DOC.format(nd=1)
    _forward, _backward = staticmethod(max_pool1d), staticmethod(max_pool1d_backward)


class MaxPool2d(_MaxPool):
    __doc__ = _MAX_DOC.format(nd=2)
    _forward, _backward = staticmethod(max_pool2d), staticmethod(max_pool2d_backward)


class MaxPool3d(_MaxPool):
    __doc__ = _MAX_DOC.format(nd=3)
    _forward, _backward = staticmethod(max_pool3d), staticmethod(max_pool3d_backward)


class AvgPool1d(_AvgPool):
    __doc__ = _AVG_DOC.format(nd=1)
    _forward, _backward = staticmethod(avg_pool1d), staticmethod(avg_pool1d_backward)


class AvgPool2d(_AvgPool):
    __doc__ = _AVG_DOC.format(nd=2)
    _forward, _backward = staticmethod(avg_pool2d), staticmethod(avg_pool2d_backward)


class AvgPool3d(_AvgPool):
    __doc__ = _AVG_DOC.format(nd=3)
    _forward, _backward = staticmethod(avg_pool3d), staticmethod(avg_pool3d_backward)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    __doc__ = _ADAPTIVE_AVG_DOC.format(nd=1)
    _forward, _backward = staticmethod(adaptive_avg_pool1d), staticmethod(adaptive_avg_pool1d_backward)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    __doc__ = _ADAPTIVE_AVG_DOC.format(nd=2)
    _forward, _backward = staticmethod(adaptive_avg_pool2d), staticmethod(adaptive_avg_pool2d_backward)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    __doc__ = _ADAPTIVE_AVG_DOC.format(nd=3)
    _forward, _backward = staticmethod(adaptive_avg_pool3d), staticmethod(adaptive_avg_pool3d_backward)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    __doc__ = _ADAPTIVE_MAX_DOC.format(nd=1)
    _forward, _backward = staticmethod(adaptive_max_pool1d), staticmethod(adaptive_max_pool1d_backward)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    __doc__ = _ADAPTIVE_MAX_DOC.format(nd=2)
    _forward, _backward = staticmethod(adaptive_max_pool2d), staticmethod(adaptive_max_pool2d_backward)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    __doc__ = _ADAPTIVE_MAX_DOC.format(nd=3)
    _forward, _backward = staticmethod(adaptive_max_pool3d), staticmethod(adaptive_max_pool3d_backward)


class GlobalAvgPool1d(_GlobalAvgPool):
    __doc__ = _GLOBAL_AVG_DOC.format(nd=1, ones="1")
    _forward, _backward = staticmethod(adaptive_avg_pool1d), staticmethod(adaptive_avg_pool1d_backward)


class GlobalAvgPool2d(_GlobalAvgPool):
    __doc__ = _GLOBAL_AVG_DOC.format(nd=2, ones="1, 1")
    _forward, _backward = staticmethod(adaptive_avg_pool2d), staticmethod(adaptive_avg_pool2d_backward)


class GlobalAvgPool3d(_GlobalAvgPool):
    __doc__ = _GLOBAL_AVG_DOC.format(nd=3, ones="1, 1, 1")
    _forward, _backward = staticmethod(adaptive_avg_pool3d), staticmethod(adaptive_avg_pool3d_backward)


class GlobalMaxPool1d(_GlobalMaxPool):
    __doc__ = _GLOBAL_MAX_DOC.format(nd=1, ones="1")
    _forward, _backward = staticmethod(adaptive_max_pool1d), staticmethod(adaptive_max_pool1d_backward)


class GlobalMaxPool2d(_GlobalMaxPool):
    __doc__ = _GLOBAL_MAX_DOC.format(nd=2, ones="1, 1")
    _forward, _backward = staticmethod(adaptive_max_pool2d), staticmethod(adaptive_max_pool2d_backward)


class GlobalMaxPool3d(_GlobalMaxPool):
    __doc__ = _GLOBAL_MAX_DOC.format(nd=3, ones="1, 1, 1")
    _forward, _backward = staticmethod(adaptive_max_pool3d), staticmethod(adaptive_max_pool3d_backward)


class MaxUnpool1d(_MaxUnpool):
    __doc__ = _UNPOOL_DOC.format(nd=1)
    _forward, _backward = staticmethod(max_unpool1d), staticmethod(max_unpool1d_backward)


class MaxUnpool2d(_MaxUnpool):
    __doc__ = _UNPOOL_DOC.format(nd=2)
    _forward, _backward = staticmethod(max_unpool2d), staticmethod(max_unpool2d_backward)


class MaxUnpool3d(_MaxUnpool):
    __doc__ = _UNPOOL_DOC.format(nd=3)
    _forward, _backward = staticmethod(max_unpool3d), staticmethod(max_unpool3d_backward)
