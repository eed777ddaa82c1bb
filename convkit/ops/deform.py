"""Deformable convolution in one, two and three dimensions, forward and gradients: every check, output shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import _options, _shapes
from .._arrays import as_array, as_out, empty
from .._ext import engine
from .._results import DeformGrads
from .._threads import current
from .._typing import Activation, Array, Padding, Size
from ._docs import documented
from ._shared import array_or_shape, batch, check_shape, remembered, results, taken_y

_NAMES = DeformGrads._fields


class Plan(NamedTuple):
    """All that a call needs to know about its sizes."""

    geometry: engine.Geometry
    offset_groups: int
    y_shape: tuple[int, ...]
    bias_shape: tuple[int]
    mask_shape: tuple[int, ...]
    batched: bool
    channel_last: bool


@remembered
def planned(x_shape, offset_shape, weight_shape, nd, stride, padding, dilation, layout) -> Plan:
    channel_last = _options.channel_last(layout)
    shape = _shapes.deform(nd, x_shape, offset_shape, weight_shape, stride, padding, dilation, channel_last)
    batched = len(x_shape) == nd + 2
    y_shape = _shapes.image_shape(shape.conv.n, weight_shape[0], shape.conv.out, channel_last, batched)
    geometry = engine.Geometry(*shape.conv)
    return Plan(geometry, shape.offset_groups, y_shape, weight_shape[:1], shape.mask, batched, channel_last)


def _check_mask(mask: np.ndarray | None, plan: Plan) -> None:
    if mask is not None and mask.shape != plan.mask_shape:
        check_shape(mask, "mask", plan.mask_shape, f"G*prod(kernel) channels for offset's G = {plan.offset_groups}")


def forward(nd, x, offset, weight, bias, stride, padding, dilation, mask, activation, layout, out) -> np.ndarray:
    """deform_conv1d, deform_conv2d and deform_conv3d."""
    x = as_array(x, "x")
    offset, weight = as_array(offset, "offset", x, "x"), as_array(weight, "weight", x, "x")
    bias = None if bias is None else as_array(bias, "bias", x, "x")
    mask = None if mask is None else as_array(mask, "mask", x, "x")
    plan = planned((x.shape, offset.shape, weight.shape), (nd, stride, padding, dilation, layout))
    _check_mask(mask, plan)
    if bias is not None:
        check_shape(bias, "bias", plan.bias_shape, "one per output channel")
    act, a, b = _options.activation(activation)
    if out is None:
        y = out = empty(plan.y_shape, x.dtype)
    else:
        inputs = (("x", x), ("offset", offset), ("weight", weight), ("bias", bias), ("mask", mask))
        y = as_out(out, "out", plan.y_shape, x.dtype, inputs)
    x, offset, mask, y = batch(plan.batched, x, offset, mask, y)
    engine.deform_forward(
        plan.geometry, plan.offset_groups, x, offset, mask, weight, bias, y, act, a, b, plan.channel_last, current()
    )
    return out


def _backward(
    nd, grad, x, offset, weight, stride, padding, dilation, mask, activation, y, layout, need, out
) -> DeformGrads:
    """deform_conv1d_backward, deform_conv2d_backward and deform_conv3d_backward."""
    need_x, need_offset, need_mask, need_weight, need_bias = _options.need(need, _NAMES)
    need_mask = need_mask and mask is not None
    needs = (need_x, need_offset, need_mask, need_weight, need_bias)
    asked = dict(zip(_NAMES, needs, strict=True))
    grad = as_array(grad, "grad")
    offset = as_array(offset, "offset", grad, "grad")
    mask = None if mask is None else as_array(mask, "mask", grad, "grad")
    sampling = next((name for name in ("weight", "offset", "mask") if asked[name]), None)
    x, x_shape = array_or_shape(x, "x", sampling, grad)
    weighing = next((name for name in ("x", "offset", "mask") if asked[name]), None)
    weight, weight_shape = array_or_shape(weight, "weight", weighing, grad)
    plan = planned((x_shape, offset.shape, weight_shape), (nd, stride, padding, dilation, layout))
    _check_mask(mask, plan)
    check_shape(grad, "grad", plan.y_shape, "that of the output")
    act, a, b = _options.activation_backward(activation)
    y = taken_y(y, activation, grad)
    if mask is None and isinstance(out, tuple) and len(out) == len(_NAMES) and out[2] is not None:
        raise ValueError("out.mask must be None where no mask is given, got an array")
    inputs = (("grad", grad), ("x", x), ("offset", offset), ("weight", weight), ("mask", mask), ("y", y))
    shapes = (x_shape, offset.shape, plan.mask_shape, weight_shape, plan.bias_shape)
    grads, (dx, doffset, dmask, dw, db) = results(_NAMES, needs, shapes, grad.dtype, out, inputs)
    images = grad, x, offset, mask, y, dx, doffset, dmask
    grad, x, offset, mask, y, dx, doffset, dmask = batch(plan.batched, *images)
    if any(needs):
        engine.deform_backward(
            plan.geometry, plan.offset_groups, grad, x, offset, mask, weight, y, dx, doffset, dmask, dw, db,
            act, a, b, plan.channel_last, current(),
        )  # fmt: skip
    return DeformGrads(*grads)


# ---------------------------------------------------------------- the public functions

_FORWARD_DOC = """
    {nd}-D deformable convolution: every tap of every output position reads x where `offset` moves it to.

    y[n, o, p] = act(bias[o] + sum over c, t of mask[n, (g, t), p] * s * weight[o, c, t]), where s is channel c of image
    n at p*stride - lo + t*dilation + offset[n, (g, t), p], by {sampled} interpolation between its {corners} neighbours;
    p and t run over output positions and kernel taps, c over the input channels of o's weight group, and g is the
    offset group of c. Zero offsets without a mask make it `conv{nd}d`.

    Parameters
    ----------
    x : ndarray, {x} or {x1}
        Input, float32 or float64, of any strides. All arrays of a call share one dtype.
    offset : ndarray, (N, {nd}*G*prod(kernel), {out}) or ({nd}*G*prod(kernel), {out})
        How far each sample is moved, in elements of x. The channels are G groups of prod(kernel) taps, row-major, of
        {nd}: ({per_tap}) per tap. Channels of x are cut into G groups in turn, each with its own offsets; G, which this
        shape tells, divides C_in.
    weight : ndarray, {w}
        Kernels. The number of weight groups is C_in / weight.shape[1] and divides C_out; ``weight.shape[1] == 1`` is
        depthwise. It has nothing to do with G.
    bias : ndarray, (C_out,), optional
        Added to every output of its channel.
    stride, dilation : int or tuple of {nd} int, default: 1
        Step of the kernel over the input, and of its taps; at least 1.
    padding : int, tuple or str, default: 0
        Elements added on both sides of the input: one int; a tuple of {nd} int, one per dimension; a tuple of {nd}
        pairs ``(lo, hi)``; ``"valid"``, ``"full"``, ``"same"``, ``"same_upper"`` or ``"same_lower"`` as in `conv{nd}d`.
    mask : ndarray, (N, G*prod(kernel), {out}) or (G*prod(kernel), {out}), optional
        What each sample is multiplied by. Without it this is the first version of deformable convolution, with it the
        second.
    activation : None, str or tuple, default: None
        {activation}
    layout : {{"NCHW", "NHWC"}}
        "NHWC" has the channel axis of x, offset, mask and the result last: x is {x_last}. `weight` is the same in both.
    {into}

    Returns
    -------
    ndarray, {y} or {y1}
        Along each axis out = floor((in + lo + hi - dilation*(k - 1) - 1) / stride) + 1.

    {raises}

    Notes
    -----
    A coordinate is the exact integer p*stride - lo + t*dilation, converted to the call's dtype, plus the offset, and
    that sum is rounded once. The image is surrounded by zeros, corner by corner: between -1 and 0, and between size - 1
    and size, a sample fades out; at or beyond -1 and size on any axis it is zero. An offset that is NaN makes what it
    samples NaN; an infinite one is outside. Samples that are zero are multiplied like any other: a mask that is
    infinite or NaN makes NaN of a sample outside.

    N, C_in and C_out may be 0; without input channels the result is the bias alone. The result has the same bits for
    any number of threads.

    References
    ----------
    J. Dai et al., "Deformable convolutional networks", 2017, arXiv:1703.06211. X. Zhu et al., "Deformable ConvNets v2:
    more deformable, better results", 2019, arXiv:1811.11168.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, weight = np.ones((1, 3, {eights})), np.ones((4, 3, {threes}))
    >>> offset = np.full((1, {offsets}, {eights}), 0.5)
    >>> convkit.deform_conv{nd}d(x, offset, weight, padding=1).shape
    (1, 4, {eights})
"""

_BACKWARD_DOC = """
    Gradients of `deform_conv{nd}d` with respect to its input, offset, mask, weight and bias.

    With g the gradient of the loss before the activation, u[n, c, t, p] = sum over o of g[n, o, p] * weight[o, c, t],
    and s the samples of `deform_conv{nd}d`, interpolated between {corners} neighbours:
    x is the sum of mask * u * (the neighbour's share) over all samples that an element is a neighbour of,
    offset[n, (q, t, d), p] the sum of mask * u * (the slope of s along axis d) over the channels of offset group q,
    mask[n, (q, t), p] the sum of u * s over the channels of offset group q,
    weight[o, c, t] the sum of g[n, o, p] * mask * s over n and p, and
    bias[o] the sum of g[n, o, p] over n and p.

    Parameters
    ----------
    grad : ndarray, {y} or {y1}
        Gradient of the loss with respect to the output of `deform_conv{nd}d`; with `activation`, after it.
    x : ndarray or tuple of int
        The input, or its shape where `need` includes none of "weight", "offset" and "mask".
    offset : ndarray, (N, {nd}*G*prod(kernel), {out}) or ({nd}*G*prod(kernel), {out})
        The offset of the forward call.
    weight : ndarray or tuple of int
        The weight, or its shape where `need` includes none of "x", "offset" and "mask".
    stride, padding, dilation, mask, layout
        As in the forward call.
    activation : None, str or tuple, default: None
        As in the forward call, without "silu", "gelu" and "hard_swish". With it g = grad * act'(y), as in
        `conv{nd}d_backward`. Without it g = grad.
    y : ndarray, optional
        The output of the forward call: required with `activation`, not looked at without.
    need : str or sequence of str, default: ("x", "offset", "mask", "weight", "bias")
        The gradients to compute. The others come back as None and cost nothing; so does "mask" without a mask.
    out : tuple of five arrays or None, optional
        A DeformGrads or tuple of arrays to fill and return, under the rules of `deform_conv{nd}d`; None entries are
        allocated.

    Returns
    -------
    DeformGrads
        Named tuple (x, offset, mask, weight, bias) of arrays that have the shapes of the input, the offset, the mask,
        the weight, and (C_out,).

    Raises
    ------
    TypeError, ValueError, OverflowError, MemoryError
        As `deform_conv{nd}d`; ValueError too if `need` has an unknown name, or `activation` comes without `y`.

    Notes
    -----
    Interpolation has kinks at whole coordinates. The slope there is that to the right, from each element to the next
    one: at coordinate -1 it is the first element, at size - 1 minus the last one, and at size zero.

    Where a coordinate is NaN its offset and mask gradients are, and x receives nothing from that sample.

    All gradients have the same bits for any number of threads. An empty batch gives zeros.

    References
    ----------
    J. Dai et al., "Deformable convolutional networks", 2017, arXiv:1703.06211. X. Zhu et al., "Deformable ConvNets v2:
    more deformable, better results", 2019, arXiv:1811.11168.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, weight = np.ones((1, 3, {eights})), np.ones((4, 3, {threes}))
    >>> offset, grad = np.full((1, {offsets}, {eights}), 0.5), np.ones((1, 4, {eights}))
    >>> convkit.deform_conv{nd}d_backward(grad, x, offset, weight, padding=1, need="offset").offset.shape
    (1, {offsets}, {eights})
"""


@documented(_FORWARD_DOC)
def deform_conv1d(
    x: Array, offset: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, mask: Array | None = None, *, activation: Activation = None, layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return forward(1, x, offset, weight, bias, stride, padding, dilation, mask, activation, layout, out)


@documented(_FORWARD_DOC)
def deform_conv2d(
    x: Array, offset: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, mask: Array | None = None, *, activation: Activation = None, layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return forward(2, x, offset, weight, bias, stride, padding, dilation, mask, activation, layout, out)


@documented(_FORWARD_DOC)
def deform_conv3d(
    x: Array, offset: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, mask: Array | None = None, *, activation: Activation = None, layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return forward(3, x, offset, weight, bias, stride, padding, dilation, mask, activation, layout, out)


@documented(_BACKWARD_DOC)
def deform_conv1d_backward(
    grad: Array, x: Array | Sequence[int], offset: Array, weight: Array | Sequence[int], stride: Size = 1,
    padding: Padding = 0, dilation: Size = 1, mask: Array | None = None, *, activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = _NAMES,
    out: Sequence[np.ndarray | None] | None = None,
) -> DeformGrads:  # fmt: skip
    return _backward(1, grad, x, offset, weight, stride, padding, dilation, mask, activation, y, layout, need, out)


@documented(_BACKWARD_DOC)
def deform_conv2d_backward(
    grad: Array, x: Array | Sequence[int], offset: Array, weight: Array | Sequence[int], stride: Size = 1,
    padding: Padding = 0, dilation: Size = 1, mask: Array | None = None, *, activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = _NAMES,
    out: Sequence[np.ndarray | None] | None = None,
) -> DeformGrads:  # fmt: skip
    return _backward(2, grad, x, offset, weight, stride, padding, dilation, mask, activation, y, layout, need, out)


@documented(_BACKWARD_DOC)
def deform_conv3d_backward(
    grad: Array, x: Array | Sequence[int], offset: Array, weight: Array | Sequence[int], stride: Size = 1,
    padding: Padding = 0, dilation: Size = 1, mask: Array | None = None, *, activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = _NAMES,
    out: Sequence[np.ndarray | None] | None = None,
) -> DeformGrads:  # fmt: skip
    return _backward(3, grad, x, offset, weight, stride, padding, dilation, mask, activation, y, layout, need, out)
