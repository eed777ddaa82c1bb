"""Branches side by side, deformable layers and their branch, pooling with indices: what the other tests do not see."""

from functools import partial

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.analysis import check_gradients
from nn_cases import noise, with_numbers

batch = partial(noise, dtype="float64")


def test_a_residual_branch_of_zeros_does_nothing():
    layer, x = nn.Residual(nn.Conv2d(2, 2, 3, padding=1, init="zeros", dtype="float64")), batch(1, 2, 4, 4)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)


def test_shapes_that_do_not_add_up():
    with pytest.raises(ValueError, match=r"branch must give the shape of the shortcut, .*shortcut=Conv2d"):
        nn.Residual(nn.Conv2d(2, 4, 3, dtype="float64"))(batch(1, 2, 4, 4))
    with pytest.raises(ValueError, match=r"shapes that differ in axis 1 alone, got \(1, 2, 4, 4\), \(1, 2, 2, 2\)"):
        nn.Concat(nn.Sequential(), nn.MaxPool2d(2))(batch(1, 2, 4, 4))
    layers = nn.Residual(nn.Conv2d(2, 4, 3)), nn.Concat(nn.Sequential(), nn.MaxPool2d(2)), nn.Concat(nn.ReLU(), dim=4)
    for layer, named in zip(layers, ("branch", "branches", "branches"), strict=True):
        with pytest.raises(ValueError, match=f"^{named} must give"):  # what the call refuses has no shape
            layer.output_shape((1, 2, 4, 4))
    with pytest.raises(ValueError, match="branches must be at least one, got none"):
        nn.Concat()
    with pytest.raises(TypeError, match=r"branches\[1\] must be a Module, got function"):
        nn.Concat(nn.ReLU(), lambda x: x)


def test_names_of_branches():
    residual = nn.Residual(nn.Sequential(nn.Conv2d(2, 2, 1)), nn.Conv2d(2, 2, 1, bias=False))
    assert list(residual.state_dict()) == ["branch.0.weight", "branch.0.bias", "shortcut.weight"]
    assert list(nn.Concat(nn.ReLU(), nn.Linear(1, 1)).state_dict()) == ["branches.1.weight", "branches.1.bias"]


def test_a_fresh_deformable_layer_is_half_a_convolution_and_without_a_mask_a_whole_one():
    x, shape = batch(2, 3, 6, 5), {"padding": 1, "rng": 0, "dtype": "float64"}
    plain = nn.Conv2d(3, 4, 3, **shape)(x)
    np.testing.assert_allclose(nn.DeformConv2d(3, 4, 3, modulated=False, **shape)(x), plain, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(nn.DeformConv2d(3, 4, 3, **shape)(x), plain / 2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("modulated", [False, True])
def test_deformable_layers_by_the_reference(nd, modulated):
    layer = getattr(nn, f"DeformConv{nd}d")(2, 3, 2, 1, 1, offset_groups=2, modulated=modulated, dtype="float64")
    with_numbers(layer, np.random.default_rng(0))
    x = batch(2, 2, *(4, 3, 3)[:nd])
    conv, deform = (getattr(convkit.reference, f"{name}{nd}d") for name in ("conv", "deform_conv"))
    offset = conv(x, layer.conv_offset.weight.data, layer.conv_offset.bias.data, 1, 1)
    mask = None
    if modulated:
        mask = conv(x, layer.conv_mask.weight.data, layer.conv_mask.bias.data, 1, 1, activation="sigmoid")
    expected = deform(x, offset, layer.weight.data, layer.bias.data, 1, 1, mask=mask)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_given_offsets_have_gradients_to_hand_on():
    layer = with_numbers(nn.DeformConv2d(2, 3, 2, branch=False), np.random.default_rng(0))
    x, offset, mask = batch(1, 2, 4, 4), batch(1, 8, 3, 3, seed=1), batch(1, 4, 3, 3, seed=2)
    y = layer(x, offset, mask)
    dx, offset_grad, mask_grad = layer.backward(y)
    expected = convkit.deform_conv2d_backward(y, x, offset, layer.weight.data, mask=mask)
    np.testing.assert_array_equal(dx, expected.x)
    np.testing.assert_array_equal(offset_grad, expected.offset)
    np.testing.assert_array_equal(mask_grad, expected.mask)
    assert list(layer.state_dict()) == ["weight", "bias"]  # torchvision's


def test_offsets_from_nowhere():
    with pytest.raises(
        ValueError, match="offset must be given with a mask, and where the layer has no branch, got None"
    ):
        nn.DeformConv2d(2, 3, 2, branch=False)(batch(1, 2, 4, 4, dtype="float32"))
    with pytest.raises(ValueError, match="offset must be given with a mask"):
        nn.DeformConv2d(2, 3, 2)(batch(1, 2, 4, 4, dtype="float32"), mask=batch(1, 4, 3, 3))
    with pytest.raises(ValueError, match="offset_groups must divide the 4 input channels, got 3"):
        nn.DeformConv2d(4, 3, 2, offset_groups=3)


@pytest.mark.parametrize(
    ("pool", "unpool"),
    [
        (nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)),
        (nn.MaxPool1d(2, return_indices=True), nn.MaxUnpool1d(2)),
    ],
)
def test_unpooling_puts_maxima_back(pool, unpool):
    x = batch(2, 3, *(6,) * (2 if isinstance(pool, nn.MaxPool2d) else 1))
    y, indices = pool(x)
    back = unpool(y, indices)
    assert back.shape == x.shape and np.count_nonzero(back) == y.size
    np.testing.assert_array_equal(back[back != 0], x[back != 0])
    np.testing.assert_array_equal(pool.backward(unpool.backward(back)), back)


def test_a_transposed_convolution_of_a_wanted_size():
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, rng=0)
    x = batch(1, 2, 4, 4, dtype="float32")
    assert [layer(x, output_size=(size, 7)).shape[2:] for size in (7, 8)] == [(7, 7), (8, 7)]
    y = layer(x, output_size=(8, 7))
    assert layer.backward(y).shape == x.shape
    with pytest.raises(ValueError, match="output_size must be from 7 to 8"):
        layer(x, output_size=9)


def test_an_upsampling_layer_is_the_operator():
    x = batch(1, 2, 3, 4)
    for mode in ("nearest", "bilinear", "bicubic"):
        layer = nn.Upsample(scale_factor=2, mode=mode)
        np.testing.assert_array_equal(layer(x), convkit.interpolate(x, scale_factor=2, mode=mode))
    assert repr(layer) == "Upsample(scale_factor=2, mode='bicubic')"
    for sizes in ({}, {"size": 3, "scale_factor": 2}):
        with pytest.raises(ValueError, match="either size or scale_factor must be given, got size=.*, scale_factor="):
            nn.Upsample(**sizes)
    with pytest.raises(ValueError, match="mode must be"):
        nn.Upsample(2, mode="best")(x)


def test_a_separable_convolution_learns_in_both_halves():
    layer = nn.DepthwiseSeparableConv2d(3, 8, 3, padding=1, rng=0)
    assert {name: array.shape for name, array in layer.state_dict().items()} == {
        "depthwise.weight": (3, 1, 3, 3),
        "depthwise.bias": (3,),
        "pointwise.weight": (8, 3, 1, 1),
        "pointwise.bias": (8,),
    }
    assert np.any(layer[0].weight.data != 0) and layer[1].weight.shape == (8, 3, 1, 1)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), layer)
    model.backward(model(batch(1, 3, 4, 4, dtype="float32")))
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.thorough
def test_a_head_that_five_maps_share_learns_from_all_of_them():
    class Levels(nn.Module):
        """Five sizes of the input, the head on each, and all that it says of them in one row."""

        def __init__(self):
            self.head = nn.Each(
                nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, rng=0), nn.Tanh(), nn.Conv2d(3, 1, 1, rng=1))
            )

        def run(self, x):
            maps, shrunk = [x], []
            for _ in range(4):
                smaller, back = nn.AvgPool2d(2, ceil_mode=True).begin(maps[-1])
                maps.append(smaller)
                shrunk.append(back)
            ys, through = self.head.begin(maps)

            def back(grad, need_input):
                ends = np.cumsum([y.size for y in ys])[:-1]
                grads = [part.reshape(y.shape) for part, y in zip(np.split(grad, ends), ys, strict=True)]
                *grads, dx = through(grads)
                while shrunk:
                    dx = shrunk.pop()(dx) + grads.pop()
                return dx

            return np.concatenate([y.ravel() for y in ys]), back

    report = check_gradients(Levels(), batch(1, 2, 9, 17), max_elements=40)
    assert [entry.name for entry in report.entries] == [
        "input", "head.layer.0.weight", "head.layer.0.bias", "head.layer.2.weight", "head.layer.2.bias",
    ]  # fmt: skip
    maps = [batch(1, 2, size, size) for size in (4, 2)]
    head = nn.Each(nn.ReLU())
    for y, x in zip(head(maps), maps, strict=True):
        np.testing.assert_array_equal(y, np.maximum(x, 0))
    assert head([]) == ()
    head(maps)
    assert head.output_shape([x.shape for x in maps]) == tuple(x.shape for x in maps)
    with pytest.raises(ValueError, match=r"output's shape \(\(1, 2, 4, 4\), \(1, 2, 2, 2\)\), got \(1, 2, 4, 4\)"):
        head.backward(maps[0])
    assert [dx.shape for dx in head.backward(maps)] == [x.shape for x in maps]
