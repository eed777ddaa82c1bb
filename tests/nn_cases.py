"""Layers to be tested, each built alike from `convkit.nn` and from its twins in PyTorch, which have the same names."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import convkit
from convkit import nn


class Case(NamedTuple):
    """A layer, ``build(namespace)``, the shape of its input, and what else forward takes, ``more(rng)``."""

    name: str
    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    training: bool = True
    more: Callable[[np.random.Generator], tuple[np.ndarray, ...]] = lambda rng: ()


def offsets(channels, shape, n=2):
    """Makes an offset and a mask of `shape`, for `channels` samples of two coordinates."""
    return lambda rng: (
        rng.standard_normal((n, 2 * channels, *shape)).astype(np.float32),
        rng.random((n, channels, *shape)).astype(np.float32),
    )


def indices(shape, plane):
    """Makes places in a plane of that many elements, none twice in a channel."""
    n, channels, *spatial = shape
    count = int(np.prod(spatial))
    return lambda rng: (
        np.stack([rng.permutation(plane)[:count] for _ in range(n * channels)]).reshape(shape).astype(np.int64),
    )


# Cases that PyTorch or torchvision has, too.
TWINS = (
    Case("conv1d", lambda nn: nn.Conv1d(3, 4, 3, 2, 1), (2, 3, 8)),
    Case("conv2d", lambda nn: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), (2, 4, 5, 6)),
    Case("conv2d_reflect", lambda nn: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 4, 5)),
    Case("conv3d", lambda nn: nn.Conv3d(2, 3, 2, dilation=2), (1, 2, 4, 3, 4)),
    Case("conv_transpose1d", lambda nn: nn.ConvTranspose1d(3, 4, 4, 2, 1), (2, 3, 5)),
    Case("conv_transpose2d", lambda nn: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False), (2, 4, 3, 4)),
    Case("conv_transpose2d_dilated", lambda nn: nn.ConvTranspose2d(2, 3, (3, 2), dilation=2), (2, 2, 3, 4)),
    Case("conv_transpose3d", lambda nn: nn.ConvTranspose3d(2, 3, 2, stride=2), (1, 2, 2, 3, 2)),
    Case("separable", lambda nn: nn.DepthwiseSeparableConv2d(3, 5, 3, 2, 1), (2, 3, 5, 6)),
    Case("deform_conv2d", lambda nn: nn.DeformConv2d(4, 3, 3, padding=1, offset_groups=2), (2, 4, 4, 5)),
    Case("deform_conv2d_v1", lambda nn: nn.DeformConv2d(2, 3, (2, 3), 2, 1, modulated=False), (2, 2, 4, 5)),
    Case(
        "deform_conv2d_given",
        lambda nn: nn.DeformConv2d(4, 6, 3, groups=2, bias=False, branch=False),
        (2, 4, 5, 6),
        more=offsets(9, (3, 4)),
    ),
    Case("linear", lambda nn: nn.Linear(5, 3), (2, 4, 5)),
    Case("max_pool1d", lambda nn: nn.MaxPool1d(3, 2, 1), (2, 3, 8)),
    Case("max_pool2d", lambda nn: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 3, 6, 5)),
    Case("max_pool3d", lambda nn: nn.MaxPool3d(2, dilation=2, stride=1), (1, 2, 4, 3, 4)),
    Case("avg_pool1d", lambda nn: nn.AvgPool1d(3, 2, 1, count_include_pad=False), (2, 3, 8)),
    Case("avg_pool2d", lambda nn: nn.AvgPool2d((3, 2), 2, (1, 0), True), (2, 3, 6, 5)),
    Case("avg_pool3d", lambda nn: nn.AvgPool3d(2), (1, 2, 4, 3, 4)),
    Case("adaptive_avg_pool1d", lambda nn: nn.AdaptiveAvgPool1d(3), (2, 3, 7)),
    Case("adaptive_avg_pool2d", lambda nn: nn.AdaptiveAvgPool2d((None, 3)), (2, 3, 4, 5)),
    Case("adaptive_avg_pool3d", lambda nn: nn.AdaptiveAvgPool3d(2), (1, 2, 3, 4, 5)),
    Case("adaptive_max_pool1d", lambda nn: nn.AdaptiveMaxPool1d(3), (2, 3, 7)),
    Case("adaptive_max_pool2d", lambda nn: nn.AdaptiveMaxPool2d((2, 3)), (2, 3, 4, 5)),
    Case("adaptive_max_pool3d", lambda nn: nn.AdaptiveMaxPool3d(2), (1, 2, 3, 4, 5)),
    Case("global_avg_pool1d", lambda nn: nn.GlobalAvgPool1d(), (2, 3, 7)),
    Case("global_avg_pool2d", lambda nn: nn.GlobalAvgPool2d(), (2, 3, 4, 5)),
    Case("global_avg_pool3d", lambda nn: nn.GlobalAvgPool3d(), (1, 2, 3, 4, 5)),
    Case("global_max_pool1d", lambda nn: nn.GlobalMaxPool1d(), (2, 3, 7)),
    Case("global_max_pool2d", lambda nn: nn.GlobalMaxPool2d(), (2, 3, 4, 5)),
    Case("global_max_pool3d", lambda nn: nn.GlobalMaxPool3d(), (1, 2, 3, 4, 5)),
    Case("max_unpool1d", lambda nn: nn.MaxUnpool1d(2), (2, 3, 4), more=indices((2, 3, 4), 8)),
    Case("max_unpool2d", lambda nn: nn.MaxUnpool2d(3, 2, 1), (2, 3, 3, 2), more=indices((2, 3, 3, 2), 15)),
    Case("max_unpool3d", lambda nn: nn.MaxUnpool3d(2), (1, 2, 2, 1, 2), more=indices((1, 2, 2, 1, 2), 32)),
    Case("upsample_nearest", lambda nn: nn.Upsample(scale_factor=2), (2, 3, 3, 4)),
    Case("upsample_linear", lambda nn: nn.Upsample(7, mode="linear"), (2, 3, 4)),
    Case("upsample_bilinear", lambda nn: nn.Upsample(scale_factor=2, mode="bilinear"), (2, 2, 3, 4)),
    Case("upsample_corners", lambda nn: nn.Upsample((5, 3), mode="bilinear", align_corners=True), (2, 2, 3, 4)),
    Case("upsample_bicubic", lambda nn: nn.Upsample(scale_factor=(1.7, 0.8), mode="bicubic"), (2, 2, 5, 5)),
    Case("upsample_trilinear", lambda nn: nn.Upsample(scale_factor=2, mode="trilinear"), (1, 2, 2, 3, 2)),
    Case("batch_norm1d", lambda nn: nn.BatchNorm1d(3), (5, 3)),
    Case("batch_norm1d_length", lambda nn: nn.BatchNorm1d(3, momentum=0.3), (2, 3, 5)),
    Case("batch_norm2d", lambda nn: nn.BatchNorm2d(3, eps=1e-3), (2, 3, 4, 3)),
    Case("batch_norm2d_eval", lambda nn: nn.BatchNorm2d(3), (2, 3, 4, 3), training=False),
    Case("batch_norm2d_all_batches", lambda nn: nn.BatchNorm2d(3, momentum=None), (2, 3, 4, 3)),
    Case("batch_norm2d_plain", lambda nn: nn.BatchNorm2d(3, affine=False), (2, 3, 4, 3)),
    Case("batch_norm2d_untracked", lambda nn: nn.BatchNorm2d(3, track_running_stats=False), (2, 3, 2, 3), False),
    Case("batch_norm3d", lambda nn: nn.BatchNorm3d(2), (2, 2, 2, 3, 2)),
    Case("group_norm", lambda nn: nn.GroupNorm(2, 4), (2, 4, 3, 2)),
    Case("group_norm_plain", lambda nn: nn.GroupNorm(3, 3, 1e-3, affine=False), (2, 3, 5)),
    Case("layer_norm", lambda nn: nn.LayerNorm(5), (2, 3, 5)),
    Case("layer_norm_axes", lambda nn: nn.LayerNorm((3, 4), 1e-3, bias=False), (2, 2, 3, 4)),
    Case("layer_norm_plain", lambda nn: nn.LayerNorm(4, elementwise_affine=False), (3, 4)),
    Case("dropout_eval", lambda nn: nn.Dropout(0.5), (3, 4), training=False),
    Case("dropout2d_eval", lambda nn: nn.Dropout2d(0.5), (2, 3, 2, 2), training=False),
    Case("flatten", lambda nn: nn.Flatten(), (2, 3, 4)),
    Case("residual", lambda nn: nn.Residual(nn.Conv2d(3, 3, 3, padding=1)), (2, 3, 4, 4)),
    Case(
        "residual_shortcut",
        lambda nn: nn.Residual(
            nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1, bias=False), nn.BatchNorm2d(3)), nn.Conv2d(2, 3, 1, 2)
        ),
        (2, 2, 4, 4),
    ),
    Case("concat", lambda nn: nn.Concat(nn.Identity(), nn.Conv2d(2, 3, 1), nn.Tanh()), (2, 2, 3, 3)),
    Case("concat_last", lambda nn: nn.Concat(nn.Linear(3, 2), nn.Linear(3, 4), dim=-1), (2, 3)),
    Case("sigmoid", lambda nn: nn.Sigmoid(), (4, 5)),
    Case("tanh", lambda nn: nn.Tanh(), (4, 5)),
    Case("relu", lambda nn: nn.ReLU(), (4, 5)),
    Case("relu6", lambda nn: nn.ReLU6(), (4, 5)),
    Case("leaky_relu", lambda nn: nn.LeakyReLU(0.2), (4, 5)),
    Case("elu", lambda nn: nn.ELU(1.5), (4, 5)),
    Case("selu", lambda nn: nn.SELU(), (4, 5)),
    Case("gelu", lambda nn: nn.GELU(), (4, 5)),
    Case("gelu_tanh", lambda nn: nn.GELU(approximate="tanh"), (4, 5)),
    Case("silu", lambda nn: nn.SiLU(), (4, 5)),
    Case("softplus", lambda nn: nn.Softplus(), (4, 5)),
    Case("softplus_beta", lambda nn: nn.Softplus(beta=3.0, threshold=2.0), (4, 5)),
    Case("softmax", lambda nn: nn.Softmax(dim=1), (2, 4, 3)),
    Case("log_softmax", lambda nn: nn.LogSoftmax(dim=-1), (2, 4)),
    Case("instance_norm1d", lambda nn: nn.InstanceNorm1d(3), (2, 3, 5)),
    Case("instance_norm2d", lambda nn: nn.InstanceNorm2d(3, 1e-3, affine=True), (2, 3, 4, 3)),
    Case("instance_norm3d", lambda nn: nn.InstanceNorm3d(2), (1, 2, 2, 3, 2)),
    Case("identity", lambda nn: nn.Identity(), (2, 3)),
    Case("pixel_shuffle", lambda nn: nn.PixelShuffle(2), (2, 8, 2, 3)),
    Case("zero_pad2d", lambda nn: nn.ZeroPad2d((1, 0, 2, 1)), (2, 2, 3, 2)),
    Case("prelu", lambda nn: nn.PReLU(), (4, 5)),
    Case("prelu_channels", lambda nn: nn.PReLU(3, 0.1), (2, 3, 4)),
    Case("hardswish", lambda nn: nn.Hardswish(), (8, 5)),
)

# Those that have none, and layouts that PyTorch's have not.
ALONE = (
    Case("hardsigmoid", lambda nn: nn.Hardsigmoid(), (8, 5)),  # PyTorch's slope is float32's sixth, in float64 too
    Case("step", lambda nn: nn.Step(), (4, 5)),
    Case("deform_conv1d", lambda nn: nn.DeformConv1d(4, 6, 3, padding=1, groups=2, offset_groups=2), (2, 4, 6)),
    Case("deform_conv3d", lambda nn: nn.DeformConv3d(2, 3, 2, 2, modulated=False), (1, 2, 4, 3, 4)),
    Case("deform_conv2d_tanh", lambda nn: nn.DeformConv2d(2, 3, 2, activation="tanh"), (2, 2, 3, 4)),
    Case("deform_conv2d_last", lambda nn: nn.DeformConv2d(2, 3, 2, layout="NHWC"), (2, 3, 4, 2)),
    Case("conv2d_tanh", lambda nn: nn.Conv2d(2, 3, 3, activation="tanh"), (2, 2, 4, 4)),
    Case("conv2d_last", lambda nn: nn.Conv2d(2, 3, 3, layout="NHWC"), (2, 4, 4, 2)),
    Case("conv2d_textbook", lambda nn: nn.Conv2d(2, 3, 3, algorithm="im2col"), (2, 2, 4, 4)),
    Case("conv_transpose2d_relu", lambda nn: nn.ConvTranspose2d(2, 3, 2, 2, activation="relu"), (2, 2, 3, 3)),
    Case("linear_sigmoid", lambda nn: nn.Linear(5, 3, bias=False, activation="sigmoid"), (2, 3, 5)),
    Case("max_pool2d_last", lambda nn: nn.MaxPool2d(2, layout="NHWC"), (2, 4, 4, 3)),
    Case("avg_pool2d_same", lambda nn: nn.AvgPool2d(3, 2, "same", layout="NHWC"), (2, 4, 5, 3)),
    Case("global_avg_pool2d_last", lambda nn: nn.GlobalAvgPool2d(layout="NHWC"), (2, 4, 5, 3)),
    Case(
        "upsample_corners_scaled",
        lambda nn: nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True),
        (2, 2, 3, 5),
    ),
    Case("upsample_area", lambda nn: nn.Upsample(scale_factor=0.6, mode="area"), (2, 3, 7, 5)),
    Case("upsample_spread", lambda nn: nn.Upsample((3, 2), mode="bilinear", antialias=True), (2, 3, 8, 7)),
    Case("upsample_spread_cubic", lambda nn: nn.Upsample((3, 9), mode="bicubic", antialias=True), (2, 3, 8, 7)),
    Case("upsample_last", lambda nn: nn.Upsample(scale_factor=2, mode="bicubic", layout="NHWC"), (2, 3, 4, 2)),
    Case("pixel_shuffle_last", lambda nn: nn.PixelShuffle(2, layout="NHWC"), (2, 2, 3, 8)),
    Case("zero_pad2d_last", lambda nn: nn.ZeroPad2d(1, layout="NHWC"), (2, 3, 2, 2)),
    Case("batch_norm2d_last", lambda nn: nn.BatchNorm2d(3, layout="NHWC"), (2, 4, 3, 3)),
    Case("empty_sequential", lambda nn: nn.Sequential(), (2, 3)),
)


def small_network(rng=0, dtype="float32"):
    rng = np.random.default_rng(rng)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=rng, dtype=dtype),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1, rng=rng, dtype=dtype), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(36, 3, rng=rng, dtype=dtype),
    )


def noise(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def batch(shape, seed=0, dtype="float32"):
    return noise(*shape, dtype=dtype, seed=seed)


def needs_of(monkeypatch):
    """Record the ``need=`` of every 2-D convolution's backward, the last layer's first."""
    needs = []

    def spy(*args, need, **options):
        needs.append(need)
        return convkit.conv2d_backward(*args, need=need, **options)

    monkeypatch.setattr(nn.Conv2d, "_backward", staticmethod(spy))
    return needs


def with_numbers(layer: nn.Module, rng: np.random.Generator, dtype: str = "float64") -> nn.Module:
    """The layer in a dtype, with numbers of no special kind for its parameters and running statistics."""
    for name, value in (*layer.named_parameters(), *layer.named_buffers()):
        if value.dtype.kind == "i":
            value.data[...] = 4
        else:
            drawn = rng.standard_normal(value.shape)
            value.data = (np.abs(drawn) + 0.5 if name.endswith("var") else drawn / 2).astype(dtype)
    return layer


def first(gradients):
    """The gradient of a layer's input, beside which those of other inputs may stand."""
    return gradients[0] if isinstance(gradients, tuple) else gradients
