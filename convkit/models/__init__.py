"""Networks that the literature names, each in a screenful of layers.

Functions return a model that is ready to train. AlexNet, VGG-16, the ResNets and MobileNetV2 have torchvision's names
and shapes in `state_dict`, so weights trained there can be loaded here, and the other way round::

    model = models.resnet18(init="zeros")
    model.load_state_dict(nn.load_state("resnet18.pth"))

To use such a model for something else, load it, freeze all but its last layer and put a new one there::

    backbone = models.resnet18(init="zeros")
    backbone.load_state_dict(nn.load_state("resnet18.safetensors"))
    model = nn.Sequential(backbone[:-1].freeze(), nn.Linear(512, 10, rng=0))

Arguments that models have in common:

num_classes : int
    Scores for each image, or pixel.
in_channels : int
    Channels of the images.
init : {"he", "glorot", "zeros"} or function
    What convolutions and linear layers start from, see `convkit.nn.init`; biases start from zero and normalisations
    from weight 1. "zeros" is the quickest where weights are loaded next.
rng : numpy.random.Generator, int or None
    Source of all initial numbers, and of dropout's.
dtype : {"float32", "float64"}
    Of the parameters, and so of every batch.
"""

from .alexnet import alexnet
from .anchors import cell_anchors, grid_anchors, pyramid_anchors, retinanet_anchors
from .dcgan import dcgan_generator
from .lenet import lenet5
from .mobilenet import mobilenet_v2
from .pyramid import FeaturePyramid, PyramidNetwork
from .resnet import resnet18, resnet50
from .unet import UNet, unet
from .vgg import vgg16

__all__ = [
    "FeaturePyramid",
    "PyramidNetwork",
    "UNet",
    "alexnet",
    "cell_anchors",
    "dcgan_generator",
    "grid_anchors",
    "lenet5",
    "mobilenet_v2",
    "pyramid_anchors",
    "resnet18",
    "resnet50",
    "retinanet_anchors",
    "unet",
    "vgg16",
]
