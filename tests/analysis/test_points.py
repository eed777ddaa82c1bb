"""Where deformable layers sample."""

import numpy as np
import pytest

from convkit import nn
from convkit.analysis import sampling_points


def with_offsets(layer, seed=0):
    """The layer with an own branch that says something."""
    for branch in (layer.conv_offset, layer.conv_mask):
        branch.weight.data[...] = np.random.default_rng(seed).standard_normal(branch.weight.shape)
    return layer


def noise(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_without_offsets_the_points_are_the_kernels_grid():
    layer = nn.DeformConv2d(1, 1, 3, stride=2, padding=1, dilation=2, rng=0)
    points = sampling_points(layer, noise(1, 1, 9, 11))
    assert points.shape == (1, 4, 5, 1, 9, 2)
    rows, columns = np.meshgrid([-1, 1, 3], [-1, 1, 3], indexing="ij")
    grid = np.stack([rows, columns], axis=-1).reshape(9, 2)
    for i in range(4):
        for j in range(5):
            np.testing.assert_array_equal(points[0, i, j, 0], grid + (2 * i, 2 * j))


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_layer_reads_its_input_there(nd, layout):
    """An input that is an affine function of the place has, at a point, that function's value there."""
    layer = getattr(nn, f"DeformConv{nd}d")(
        2, 1, 3, stride=2, offset_groups=2, modulated=False, bias=False, layout=layout, dtype="float64", rng=0
    )
    sizes = (12, 13, 14)[:nd]
    x = np.indices(sizes, dtype=np.float64)
    x = np.stack([1 + np.tensordot(slope, x, 1) for slope in ((1, 2, 3)[:nd], (-2, 1, 5)[:nd])])[np.newaxis]
    x = np.moveaxis(x, 1, -1).copy() if layout == "NHWC" else x
    out = tuple((size - 3) // 2 + 1 for size in sizes)
    channels = nd * 2 * 3**nd
    shape = (1, *out, channels) if layout == "NHWC" else (1, channels, *out)
    offset = np.random.default_rng(0).uniform(-0.9, 0.9, shape)
    y = layer(x, offset)
    points = sampling_points(layer, x, offset)
    assert points.shape == (1, *out, 2, 3**nd, nd)
    values = 1 + np.stack(
        [points[..., g, :, :] @ slope for g, slope in ((0, (1, 2, 3)[:nd]), (1, (-2, 1, 5)[:nd]))], -2
    )
    expected = (values * layer.weight.data.reshape(2, -1)).sum(axis=(-2, -1))
    inside = ((points >= 0) & (points <= np.array(sizes) - 1)).all(axis=(-3, -2, -1))
    assert inside.mean() > 0.2
    np.testing.assert_allclose(np.squeeze(y, -1 if layout == "NHWC" else 1)[inside], expected[inside], rtol=1e-12)


def test_the_own_branch_says_where_and_the_layer_stays_as_it_was():
    layer, x = with_offsets(nn.DeformConv2d(2, 3, 3, padding="same", rng=0)), noise(2, 2, 5, 6)
    y = layer(x)
    points = sampling_points(layer, x)
    np.testing.assert_array_equal(points, sampling_points(layer, x, layer.conv_offset(x)))
    assert points.dtype == np.float32 and np.ptp(points) > 8
    layer = with_offsets(nn.DeformConv2d(2, 3, 3, padding="same", rng=0))
    layer(x)
    sampling_points(layer, x)
    assert layer.training and layer.backward(np.ones_like(y)).shape == x.shape


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sampling_points(nn.Conv2d(1, 1, 3), noise(1, 1, 5, 5)), TypeError, "layer must be a DeformConv1d"),
        (
            lambda: sampling_points(nn.DeformConv2d(1, 1, 3, branch=False), noise(1, 1, 5, 5)),
            ValueError,
            "offset must be given where the layer has no branch, got None",
        ),
        (
            lambda: sampling_points(nn.DeformConv2d(1, 1, 3), noise(1, 1, 5, 5), noise(1, 18, 2, 3)),
            ValueError,
            "offset must have",
        ),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
