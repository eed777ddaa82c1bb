"""Where the taps of a deformable convolution come to lie."""

from __future__ import annotations

import numpy as np

from .. import _shapes, nn
from .._arrays import as_array

_LAYERS = (nn.DeformConv1d, nn.DeformConv2d, nn.DeformConv3d)


def sampling_points(layer: nn.Module, x: np.ndarray, offset: np.ndarray | None = None) -> np.ndarray:
    """Points that a deformable layer samples for each of its outputs.

    Parameters
    ----------
    layer : DeformConv1d, DeformConv2d or DeformConv3d
        Left as it was.
    x : ndarray, ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with the layer's ``layout="NHWC"``
        The layer's input.
    offset : ndarray, optional
        As the layer takes it; by default what the layer's own branch makes of `x`.

    Returns
    -------
    ndarray of the offset's dtype, ``(N, *out, G, taps, nd)``
        For each image, output, group of offsets and tap of the kernel (in row-major order) the coordinates in pixels
        of `x`, the last axis (y, x) for images and (z, y, x) for volumes: tap t of output i lies along each axis at
        ``i * stride - padding + t * dilation + offset``. ``points[n, i, j].reshape(-1, 2)`` is the cloud of the output
        (i, j). Points outside `x` read zeros.

    Raises
    ------
    TypeError
        If `layer` is not a deformable convolution, or an array is not of float32 or float64.
    ValueError
        If the shapes do not fit, or the layer has no branch and no `offset` is given.

    References
    ----------
    J. Dai, H. Qi, Y. Xiong, Y. Li, G. Zhang, H. Hu, Y. Wei: Deformable convolutional networks, ICCV 2017,
    arXiv:1703.06211.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import analysis, nn
    >>> layer = nn.DeformConv2d(1, 1, 2, branch=False, rng=0)
    >>> offset = np.full((1, 8, 1, 1), 0.5, np.float32)
    >>> analysis.sampling_points(layer, np.ones((1, 1, 2, 2), np.float32), offset).reshape(-1, 2).tolist()
    [[0.5, 0.5], [0.5, 1.5], [1.5, 0.5], [1.5, 1.5]]
    """
    if not isinstance(layer, _LAYERS):
        raise TypeError(f"layer must be a DeformConv1d, DeformConv2d or DeformConv3d, got {type(layer).__name__}")
    x = as_array(x, "x")
    if offset is None:
        if layer.conv_offset is None:
            raise ValueError("offset must be given where the layer has no branch, got None")
        offset = layer.conv_offset.predict(x)
    offset = as_array(offset, "offset", x, "x")
    nd = layer.weight.data.ndim - 2
    last = layer.layout == "NHWC"
    moves = (layer.stride, layer.padding, layer.dilation)
    shape = _shapes.deform(nd, x.shape, offset.shape, layer.weight.shape, *moves, last).conv
    points = offset if last else np.moveaxis(offset, 1, -1)
    points = points.reshape(*points.shape[:-1], -1, *shape.kernel, nd).copy()  # (N, *out, G, *kernel, nd)
    for axis in range(nd):
        outputs = np.arange(shape.out[axis]) * shape.stride[axis] - shape.pad_lo[axis]
        taps = np.arange(shape.kernel[axis]) * shape.dilation[axis]
        points[..., axis] += outputs.reshape(-1, *(1,) * (2 * nd - axis)) + taps.reshape(-1, *(1,) * (nd - axis - 1))
    return points.reshape(*points.shape[: nd + 2], -1, nd)
