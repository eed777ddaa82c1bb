"""A layer as data, and thirty of published networks, the shapes convkit is measured on.

ResNet-50, VGG-16, MobileNet, ResNeXt, DeepLab, ConvNeXt, RepLKNet, DCGAN, deformable ResNets, small nets on digits and
CIFAR. `convkit bench`, the suites in `bench/` and the tests all read this one list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._words import dimensions

DEFORMABLE = ("dcn", "dcn2")
FEW_INPUTS, FEW_OUTPUTS = 4, 8


@dataclass(frozen=True)
class Layer:
    """One layer: its operator (`kind`) and sizes; stride and dilation are the same on every axis.

    `kind` is ``"conv"``, ``"convT"`` (transposed), ``"dcn"`` (deformable) or ``"dcn2"`` (deformable with a mask).
    """

    name: str
    kind: str
    n: int
    c_in: int
    spatial: tuple[int, ...]
    c_out: int
    kernel: tuple[int, ...]
    stride: int = 1
    padding: int | tuple[int, ...] = 0
    dilation: int = 1
    groups: int = 1

    @property
    def nd(self) -> int:
        """Number of spatial dimensions."""
        return len(self.kernel)

    @property
    def pads(self) -> tuple[int, ...]:
        """Padding of each axis, the same on both sides of it."""
        return self.padding if isinstance(self.padding, tuple) else (self.padding,) * self.nd

    @property
    def out_spatial(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        axes = zip(self.spatial, self.kernel, self.pads, strict=True)
        if self.kind == "convT":
            return tuple(
                (size - 1) * self.stride - 2 * pad + self.dilation * (taps - 1) + 1 for size, taps, pad in axes
            )
        return tuple((size + 2 * pad - self.dilation * (taps - 1) - 1) // self.stride + 1 for size, taps, pad in axes)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of the input, channels first."""
        return (self.n, self.c_in, *self.spatial)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Shape of the output, channels first."""
        return (self.n, self.c_out, *self.out_spatial)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight; a transposed convolution's has the input channels first."""
        first, second = (self.c_in, self.c_out) if self.kind == "convT" else (self.c_out, self.c_in)
        return (first, second // self.groups, *self.kernel)

    @property
    def flops(self) -> int:
        """FLOPs of the forward pass, one multiply-add = 2, taps on padding counted.

        The gradient of x costs the same again, and so does the gradient of the weight.
        """
        positions = math.prod(self.spatial if self.kind == "convT" else self.out_spatial)
        return 2 * self.n * self.c_out * (self.c_in // self.groups) * math.prod(self.kernel) * positions

    @property
    def elements(self) -> dict[str, int]:
        """Elements of each array that the forward pass reads or writes, the bias left out."""
        counts = {"x": math.prod(self.x_shape), "weight": math.prod(self.weight_shape), "y": math.prod(self.y_shape)}
        if self.kind in DEFORMABLE:
            samples = self.n * math.prod(self.kernel) * math.prod(self.out_spatial)
            counts["offset"] = self.nd * samples
            if self.kind == "dcn2":
                counts["mask"] = samples
        return counts

    @property
    def family(self) -> str:
        """What kind of work it is: the word that measurements are grouped by."""
        suffix = " transposed" if self.kind == "convT" else ""
        if self.kind in DEFORMABLE:
            return "deformable"
        if self.groups > 1:
            return ("depthwise" if self.groups == self.c_in else "grouped") + suffix
        if self.c_in <= FEW_INPUTS:
            return "few inputs" + suffix
        if self.c_out <= FEW_OUTPUTS:
            return "few outputs" + suffix
        return ("pointwise" if math.prod(self.kernel) == 1 else "dense") + suffix

    def __str__(self) -> str:
        """The sizes in short, such as ``64->64 3x3 at 56x56 s2 p1 b8``: what is not said is 1, or 0 of padding."""
        words = [*([self.kind] if self.kind != "conv" else []), f"{self.c_in}->{self.c_out}"]
        words += [dimensions(self.kernel), f"at {dimensions(self.spatial)}"]
        words += [f"{letter}{value}" for letter, value in (("s", self.stride), ("d", self.dilation)) if value > 1]
        words += [f"p{dimensions(self.pads) if len(set(self.pads)) > 1 else self.pads[0]}"] if any(self.pads) else []
        words += [f"g{self.groups}"] if self.groups > 1 else []
        return " ".join([*words, f"b{self.n}"])


# fmt: off
LAYERS = (
    #     name               kind      n  c_in spatial       c_out kernel     stride padding dilation groups
    Layer("stem7x7s2",        "conv",   8,   3, (224, 224),     64, (7, 7),    2,  3),
    Layer("r50_3x3_64",       "conv",   8,  64, (56, 56),       64, (3, 3),    1,  1),
    Layer("r50_3x3_128",      "conv",   8, 128, (28, 28),      128, (3, 3),    1,  1),
    Layer("r50_3x3_256",      "conv",   8, 256, (14, 14),      256, (3, 3),    1,  1),
    Layer("r50_3x3_512",      "conv",   8, 512, (7, 7),        512, (3, 3),    1,  1),
    Layer("r50_3x3s2_128",    "conv",   8, 128, (56, 56),      128, (3, 3),    2,  1),
    Layer("r50_1x1_256_1024", "conv",   8, 256, (14, 14),     1024, (1, 1)),
    Layer("r50_1x1_64_256",   "conv",   8,  64, (56, 56),      256, (1, 1)),
    Layer("vgg_64_224",       "conv",   1,  64, (224, 224),     64, (3, 3),    1,  1),
    Layer("vgg_512_28",       "conv",   1, 512, (28, 28),      512, (3, 3),    1,  1),
    Layer("deeplab_d2",       "conv",   1, 256, (33, 33),      256, (3, 3),    1,  2,  2),
    Layer("deeplab_d12",      "conv",   1, 512, (33, 33),      256, (3, 3),    1, 12, 12),
    Layer("resnext_g32",      "conv",   8, 128, (56, 56),      128, (3, 3),    1,  1,  1,  32),
    Layer("grouped_g4",       "conv",   8, 128, (28, 28),      128, (3, 3),    1,  1,  1,   4),
    Layer("dw3_32_112",       "conv",   8,  32, (112, 112),     32, (3, 3),    1,  1,  1,  32),
    Layer("dw3_512_14",       "conv",   8, 512, (14, 14),      512, (3, 3),    1,  1,  1, 512),
    Layer("dw3s2_96_112",     "conv",   8,  96, (112, 112),     96, (3, 3),    2,  1,  1,  96),
    Layer("dw7_96_56",        "conv",   8,  96, (56, 56),       96, (7, 7),    1,  3,  1,  96),
    Layer("dw31_128_28",      "conv",   1, 128, (28, 28),      128, (31, 31),  1, 15,  1, 128),
    Layer("dcgan_t4s2",       "convT",  8, 512, (8, 8),        256, (4, 4),    2,  1),
    Layer("dcgan_t4s2b",      "convT",  8, 128, (32, 32),       64, (4, 4),    2,  1),
    Layer("seg_t3s2",         "convT",  1,  64, (128, 128),     64, (3, 3),    2,  1),
    Layer("conv1d_k9",        "conv",   4,  64, (8192,),        64, (9,),      1,  4),
    Layer("dw1d_k31",         "conv",   4, 256, (1000,),       256, (31,),     1, 15,  1, 256),
    Layer("conv3d_k3",        "conv",   1,  16, (16, 56, 56),   32, (3, 3, 3), 1,  1),
    Layer("tiny_digits",      "conv",  32,   1, (8, 8),         16, (3, 3),    1,  1),
    Layer("cifar_32",         "conv",  64,  32, (32, 32),       32, (3, 3),    1,  1),
    Layer("dcn_64_56",        "dcn",    2,  64, (56, 56),       64, (3, 3),    1,  1),
    Layer("dcn_256_28",       "dcn",    2, 256, (28, 28),      256, (3, 3),    1,  1),
    Layer("dcnv2_128_28",     "dcn2",   2, 128, (28, 28),      128, (3, 3),    1,  1),
)

# Beside the thirty: U-Net's up-sampling and its sibling for volumes, whose kernel is their stride, so that every output
# is touched once; and a call that is over before it is worth calling, which says what any call costs.
OTHERS = (
    Layer("unet_t2s2",        "convT",  1, 128, (64, 64),       64, (2, 2),    2),
    Layer("unet3d_t2s2",      "convT",  1,  64, (16, 16, 16),   32, (2, 2, 2), 2),
    Layer("call_1x1x8x8",     "conv",   1,   1, (8, 8),          1, (3, 3)),
)
# fmt: on
