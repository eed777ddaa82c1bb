"""Networks that run by tiles, to the bit, with the shape of an image or volume for each."""

from convkit import models, nn

EXACT = {"algorithm": "implicit_gemm"}


def conv(c_in, c_out, kernel, **options):
    return nn.Conv2d(c_in, c_out, kernel, rng=0, **EXACT, **options)


def transposed(*sizes):
    return nn.ConvTranspose2d(*sizes, rng=0, **EXACT)


def exact(model):
    """The model, with convolutions whose sums do not depend on the place."""
    for layer in model.modules():
        if hasattr(layer, "algorithm"):
            layer.algorithm = "implicit_gemm"
    return model


def small_unet():
    return exact(models.unet(width=4, depth=2, rng=0))


def pyramid():
    """Maps at strides of 2, 4, 8 and 16."""
    stages = nn.Sequential(conv(1, 3, 3, padding=1, stride=2), nn.ReLU()), conv(3, 4, 3, padding=1, stride=2)
    neck = models.FeaturePyramid((3, 4, 5), 6, rng=0)
    return exact(models.PyramidNetwork([*stages, conv(4, 5, 5, padding=2, stride=2)], neck))


TILED = {
    "convolutions": (
        lambda: nn.Sequential(conv(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 2, 5, dilation=2)),
        (2, 1, 40, 51),
    ),
    "strides": (
        lambda: nn.Sequential(conv(1, 4, 3, padding="same", stride=2), nn.MaxPool2d(3, 2, 1), conv(4, 2, 3, stride=3)),
        (1, 1, 60, 71),
    ),
    "rounding up": (
        lambda: nn.Sequential(nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)), (1, 2, 40, 51)
    ),
    "modes": (
        lambda: nn.Sequential(conv(2, 4, 3, padding=2, padding_mode="reflect"),
                              conv(4, 2, 3, padding=1, padding_mode="replicate", stride=2)),
        (1, 2, 40, 33),
    ),
    "transposed": (lambda: nn.Sequential(transposed(2, 4, 4, 2, 1), transposed(4, 2, 3, 3, 1, 1)), (1, 2, 20, 23)),
    "enlarged": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv(2, 4, 3), nn.PixelShuffle(2)),
        (1, 2, 20, 23),
    ),
    "branches": (
        lambda: nn.Sequential(nn.Residual(nn.Sequential(conv(3, 3, 3, padding=1), nn.ReLU())),
                              nn.Concat(nn.Identity(), conv(3, 2, 1)), nn.Softmax(1)),
        (1, 3, 20, 23),
    ),
    "unet": (small_unet, (1, 1, 64, 96)),
    "averages of one window": (lambda: nn.AvgPool2d(7), (1, 2, 56, 56)),
    "several outputs": (pyramid, (2, 1, 64, 48)),
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 2, 3, padding=1, rng=0, **EXACT), nn.ReLU()), (1, 1, 12, 23, 17)),
}  # fmt: skip
