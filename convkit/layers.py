"""Thirty layers of published networks, the shapes convkit is measured on.

ResNet-50, VGG-16, MobileNet, ResNeXt, DeepLab, ConvNeXt, RepLKNet, DCGAN, deformable ResNets, small nets on digits and
CIFAR. `convkit bench`, the suites in `bench/` and the tests all read this one list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One layer: its operator (`kind`) and sizes; stride, padding and dilation are the same on every axis.

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
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def out_spatial(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        if self.kind == "convT":
            return tuple(
                (size - 1) * self.stride - 2 * self.padding + self.dilation * (taps - 1) + 1
                for size, taps in zip(self.spatial, self.kernel, strict=True)
            )
        return tuple(
            (size + 2 * self.padding - self.dilation * (taps - 1) - 1) // self.stride + 1
            for size, taps in zip(self.spatial, self.kernel, strict=True)
        )

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

# U-Net's up-sampling and its sibling for volumes, beside the thirty: kernel == stride, every output is touched once.
UPSAMPLING = (
    Layer("unet_t2s2",        "convT",  1, 128, (64, 64),       64, (2, 2),    2),
    Layer("unet3d_t2s2",      "convT",  1,  64, (16, 16, 16),   32, (2, 2, 2), 2),
)
# fmt: on
