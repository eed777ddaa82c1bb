"""Data: from files to batches.

=============  =========================================================================================================
sources        `digits`, `digits_split`, `ImageFolder`
batches        `minibatches`
normalisation  `ZScore`, `MinMax`, `Log`, `Exp`, `Arctan`, fitted on the training part alone
colour         `grayscale`, `rgb_to_hsl`, `hsl_to_rgb`
augmentation   `crop`, `flip`, `shift`, `rotate`, `affine`, and `Compose` of them
=============  =========================================================================================================
"""

from .colour import grayscale, hsl_to_rgb, rgb_to_hsl
from .digits import Split, digits, digits_split
from .image_folder import ImageFolder
from .minibatches import Minibatches, minibatches
from .normalize import Arctan, Exp, Log, MinMax, Normalizer, ZScore
from .transforms import Compose, affine, crop, flip, rotate, shift

__all__ = [
    "Arctan",
    "Compose",
    "Exp",
    "ImageFolder",
    "Log",
    "MinMax",
    "Minibatches",
    "Normalizer",
    "Split",
    "ZScore",
    "affine",
    "crop",
    "digits",
    "digits_split",
    "flip",
    "grayscale",
    "hsl_to_rgb",
    "minibatches",
    "rgb_to_hsl",
    "rotate",
    "shift",
]
