"""Normalising layers: running statistics, single values, cancellation, and what they refuse."""

import numpy as np
import pytest

from convkit import nn
from nn_cases import batch


@pytest.mark.parametrize(("momentum", "rates"), [(0.1, (0.1, 0.1)), (0.75, (0.75, 0.75)), (None, (1, 1 / 2))])
def test_running_statistics_follow_the_batches(momentum, rates):
    layer, mean, var = nn.BatchNorm2d(3, momentum=momentum, dtype="float64"), np.zeros(3), np.ones(3)
    for seed, rate in enumerate(rates):
        x = batch((4, 3, 5, 2), seed, "float64") * 3 + 1
        layer(x)
        mean += rate * (x.mean(axis=(0, 2, 3)) - mean)
        var += rate * (x.var(axis=(0, 2, 3), ddof=1) - var)
    np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.data, var, rtol=1e-12)
    assert layer.num_batches_tracked.data == 2
    layer.eval()(x)
    assert layer.num_batches_tracked.data == 2
    np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-12)


def test_the_state_is_pytorchs():
    layer = nn.BatchNorm2d(3)
    assert {name: (a.shape, a.dtype.name) for name, a in layer.state_dict().items()} == {
        "weight": ((3,), "float32"),
        "bias": ((3,), "float32"),
        "running_mean": ((3,), "float32"),
        "running_var": ((3,), "float32"),
        "num_batches_tracked": ((), "int64"),
    }
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in nn.Sequential(layer).named_buffers()] == [
        "0.running_mean", "0.running_var", "0.num_batches_tracked",
    ]  # fmt: skip
    assert repr(layer.running_mean) == "Buffer(shape=(3,), dtype=float32)"


def test_a_count_is_loaded_from_integers_alone():
    layer = nn.BatchNorm1d(2)
    layer.load_state_dict(layer.state_dict() | {"num_batches_tracked": np.array(7, np.int32)})
    assert layer.num_batches_tracked.data == 7 and layer.num_batches_tracked.dtype == np.int64
    with pytest.raises(TypeError, match=r"state\['num_batches_tracked'\] must be integers, got float64"):
        layer.load_state_dict(layer.state_dict() | {"num_batches_tracked": np.array(7.0)})


def test_a_layer_in_evaluation_takes_one_sample():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match="x must have more than one value per channel in training, got one; .* eval"):
        layer(batch((1, 2)))
    assert layer.num_batches_tracked.data == 0
    np.testing.assert_allclose(layer.eval()(batch((1, 2))), batch((1, 2)), rtol=1e-5)


def test_frozen_parameters_have_no_gradient():
    layer = nn.BatchNorm2d(3)
    layer.weight.trainable = False
    y = layer(batch((2, 3, 4, 4)))
    layer.backward(y)
    assert layer.weight.grad is None and layer.bias.grad is not None


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_views_are_read_as_they_are(layout):
    layer, x = nn.BatchNorm2d(3, layout=layout), batch((4, 3, 6, 3))
    for view in (x[::-1], x[:, :, ::2], np.asfortranarray(x)):
        np.testing.assert_allclose(layer(view), layer(view.copy()), rtol=1e-5, atol=1e-6)
        y, grad = layer(view), np.asfortranarray(batch(view.shape, 1))
        dx = layer.backward(grad)
        layer(view.copy())
        assert y.flags.c_contiguous
        np.testing.assert_allclose(dx, layer.backward(grad.copy()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            nn.BatchNorm2d(3),
            (2, 4, 5, 5),
            r"x must have shape \(N, C, \*spatial\) with C = 3 and 4 axes, got .*4, 5, 5",
        ),
        (nn.BatchNorm2d(3), (2, 3, 5), "with C = 3 and 4 axes, got"),
        (nn.BatchNorm1d(3), (2, 3, 5, 5), "with C = 3 and 2 or 3 axes, got"),
        (nn.BatchNorm3d(3, layout="NHWC"), (2, 3, 4, 4, 4), r"shape \(N, \*spatial, C\) with C = 3"),
        (nn.GroupNorm(2, 4), (2, 3, 5), r"x must have shape \(N, C, \*spatial\) with C = 4, got shape \(2, 3, 5\)"),
        (nn.GroupNorm(2, 4), (4,), "with C = 4, got"),
        (nn.LayerNorm((3, 4)), (2, 4, 3), r"x must have \(3, 4\) for its last axes, got shape \(2, 4, 3\)"),
        (nn.LayerNorm((3, 4)), (4,), "for its last axes, got"),
    ],
)
def test_shapes_that_do_not_fit(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(batch(shape))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.GroupNorm(1, 3), nn.LayerNorm(3)])
def test_another_dtype_and_what_is_no_array(layer):
    with pytest.raises(TypeError, match="x must have the dtype of the layer's weight, float32, got float64"):
        layer(batch((2, 3), dtype="float64"))
    with pytest.raises(TypeError, match="x must be a float32 or float64 array, got list"):
        layer([[1.0, 2.0, 3.0]])


def test_state_of_another_shape_is_refused_and_of_any_strides_taken():
    layer, x = nn.BatchNorm2d(3), batch((2, 3, 4, 4)) + 1
    layer.weight.data = np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"weight and bias must have shape \(3,\), got \(2,\)"):
        layer(x)
    layer.weight.data = np.ones(3, np.float32)
    layer.running_var.data = np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"running statistics must have shape \(3,\), got \(2,\)"):
        layer(x)
    others = np.ones((2, 3)), np.ones((3, 2), np.float32)
    layer.running_mean.data, layer.running_var.data = others[0][0], others[1][:, 0]
    layer(x)
    np.testing.assert_allclose(layer.running_mean.data, 0.9 + 0.1 * x.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(layer.running_var.data, 0.9 + 0.1 * x.var((0, 2, 3), ddof=1), rtol=1e-6)
    assert (others[0][1] == 1).all() and (others[1][:, 1] == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6, 1, 5), (6, 2, 4), (30, 1, 3), (3, 3, 16), (36, 1, 1 << 16)])
def test_a_sample_has_the_same_bits_alone(shape, dtype):
    x, grad = batch(shape, dtype=dtype), batch(shape, seed=1, dtype=dtype)
    for layer in (nn.InstanceNorm1d(shape[1], dtype=dtype), nn.GroupNorm(1, shape[1], dtype=dtype),
                  nn.LayerNorm(shape[2], dtype=dtype)):  # fmt: skip
        y, back = layer.begin(x)
        alone, back_alone = layer.begin(x[1:2])
        np.testing.assert_array_equal(alone, y[1:2])
        np.testing.assert_array_equal(back_alone(grad[1:2]), back(grad)[1:2])
        np.testing.assert_array_equal(layer.prepare()(x[1:2]), layer.prepare()(x)[1:2])


def test_samples_with_channels_last_have_the_same_bits_alone():
    x, grad = (batch((3, 5, 20), seed=seed, dtype="float64").transpose(0, 2, 1) for seed in (0, 1))
    for layer in (nn.InstanceNorm1d(20, dtype="float64"), nn.GroupNorm(2, 20, dtype="float64"),
                  nn.LayerNorm(5, dtype="float64")):  # fmt: skip
        (y, back), (alone, back_alone) = layer.begin(x), layer.begin(x[1:2])
        np.testing.assert_array_equal(alone, y[1:2])
        np.testing.assert_array_equal(back_alone(grad[1:2]), back(grad)[1:2])
