"""Layers, and what they are made of.

A model is a `Module`, usually a `Sequential`. One step of training::

    scores = model(x)
    loss = nn.losses.softmax_cross_entropy(scores, labels)
    model.zero_grad()
    model.backward(loss.grad, need_input=False)
    optimizer.step()

============  ==========================================================================================================
convolution   `Conv1d`, `ConvTranspose1d`, `DeformConv1d`, each to 3d; `DepthwiseSeparableConv2d`
pooling       `MaxPool1d`, `AvgPool1d`, `AdaptiveAvgPool1d`, `AdaptiveMaxPool1d`, `GlobalAvgPool1d`, `GlobalMaxPool1d`,
              `MaxUnpool1d`, each to 3d; `Upsample`
normalising   `BatchNorm1d`, `InstanceNorm1d`, each to 3d; `GroupNorm`, `LayerNorm`; `Dropout`, `Dropout2d`
vectors       `Linear`
rearranging   `Identity`, `Flatten`, `PixelShuffle`, `ZeroPad2d`
activations   `Step`, `Sigmoid`, `Tanh`, `Hardsigmoid`, `ReLU`, `ReLU6`, `LeakyReLU`, `PReLU`, `ELU`, `SELU`, `GELU`,
              `SiLU`, `Hardswish`, `Softplus`, `Softmax`, `LogSoftmax`
joined        `Sequential`, `Residual`, `Concat`, `Each`
of your own   `Module`, `ByElement`, `Parameter`, `Buffer`, `Window`, `Way`
how it runs   `inference`, `keeping`, `hooks`
weight files  `save_state`, `load_state`
============  ==========================================================================================================
"""

from .._mode import hooks, inference, keeping
from .._windows import Window
from . import init, losses
from .activations import (
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Step,
    Tanh,
)
from .batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .branches import Concat, Each, Residual
from .conv import Conv1d, Conv2d, Conv3d
from .conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .deform import DeformConv1d, DeformConv2d, DeformConv3d
from .dropout import Dropout, Dropout2d
from .files import load_state, save_state
from .linear import Linear
from .module import ByElement, IncompatibleKeys, Module, Way
from .parameter import Buffer, Parameter
from .pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool1d,
    GlobalAvgPool2d,
    GlobalAvgPool3d,
    GlobalMaxPool1d,
    GlobalMaxPool2d,
    GlobalMaxPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
)
from .rearrange import Flatten, Identity, PixelShuffle, ZeroPad2d
from .samplenorm import GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LayerNorm
from .separable import DepthwiseSeparableConv2d
from .sequential import Sequential
from .upsample import Upsample

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Buffer",
    "ByElement",
    "Concat",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DeformConv1d",
    "DeformConv2d",
    "DeformConv3d",
    "DepthwiseSeparableConv2d",
    "Dropout",
    "Dropout2d",
    "ELU",
    "Each",
    "Flatten",
    "GELU",
    "GlobalAvgPool1d",
    "GlobalAvgPool2d",
    "GlobalAvgPool3d",
    "GlobalMaxPool1d",
    "GlobalMaxPool2d",
    "GlobalMaxPool3d",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "IncompatibleKeys",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Module",
    "PReLU",
    "Parameter",
    "PixelShuffle",
    "ReLU",
    "ReLU6",
    "Residual",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "Tanh",
    "Upsample",
    "Way",
    "Window",
    "ZeroPad2d",
    "hooks",
    "inference",
    "init",
    "keeping",
    "load_state",
    "losses",
    "save_state",
]
