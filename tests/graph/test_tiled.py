"""Tiles: the whole network's bits, whatever the tile, the layers and the borders."""

import numpy as np
import pytest

from convkit import models, nn

EXACT = {"algorithm": "implicit_gemm"}


def conv(c_in, c_out, kernel, **options):
    return nn.Conv2d(c_in, c_out, kernel, rng=0, **EXACT, **options)


def transposed(*sizes):
    return nn.ConvTranspose2d(*sizes, rng=0, **EXACT)


def small_unet():
    model = models.unet(width=4, depth=2, rng=0)
    for layer in model.modules():
        if hasattr(layer, "algorithm"):
            layer.algorithm = "implicit_gemm"
    return model


CASES = {
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
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 2, 3, padding=1, rng=0, **EXACT), nn.ReLU()), (1, 1, 12, 23, 17)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_tiles_have_the_bits_of_the_whole(name):
    make, shape = CASES[name]
    network, x = make().eval().prepare(), np.random.default_rng(0).standard_normal(shape, np.float32)
    whole = network(x)
    for tile in (7, 16):
        np.testing.assert_array_equal(network.tiled(x, tile), whole)


class Sliced:
    """What has a shape and gives slices, and is never asked for all of itself."""

    def __init__(self, array):
        self._array, self.shape, self.dtype, self.largest = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        part = self._array[index]
        self.largest = max(self.largest, part.size)
        return part


def test_from_and_to_what_gives_slices(tmp_path):
    network = conv(1, 2, 3, padding=1).prepare()
    x = Sliced(np.random.default_rng(0).standard_normal((1, 1, 100, 120), np.float32))
    out = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.float32, (1, 2, 100, 120))
    assert network.tiled(x, (20, 40), out=out) is out
    np.testing.assert_array_equal(out, network(x._array))
    assert x.largest == 22 * 42


def test_what_sees_everything_is_refused_by_name():
    network = nn.Sequential(conv(1, 2, 3), nn.GlobalAvgPool2d(), nn.Flatten()).prepare()
    with pytest.raises(
        ValueError, match=r"bounded window for each output; it has GlobalAveragePool \(1\), Flatten \(2\)"
    ):
        network.tiled(np.zeros((1, 1, 20, 20), np.float32), 8)
    with pytest.raises(ValueError, match=r"out must have shape \(1, 2, 18, 18\), got \(1, 2, 3\)"):
        conv(1, 2, 3).prepare().tiled(np.zeros((1, 1, 20, 20), np.float32), 8, out=np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match=r"Resize \(no layer\) cannot be cut into tiles: it does not enlarge"):
        nn.Upsample(scale_factor=1.5).prepare().tiled(np.zeros((1, 1, 20, 20), np.float32), 8)


def test_another_dtype_is_refused_and_another_byte_order_taken():
    network, x = conv(1, 2, 3).prepare((1, 1, 20, 20)), np.random.default_rng(0).standard_normal((1, 1, 20, 20))
    with pytest.raises(TypeError, match="x must have dtype float32, got float64"):
        network.tiled(x, 8)
    x = x.astype(np.float32)
    np.testing.assert_array_equal(network.tiled(x.astype(">f4"), 8), network(x))


PADDED = {
    "wide": (nn.Conv2d(1, 1, 5, padding=2, rng=0, **EXACT), 33, 2),
    "before the last": (nn.Conv2d(1, 1, 7, padding=3, rng=0, **EXACT), 64, 31),
    "dilated": (nn.Conv2d(1, 1, 3, padding=4, dilation=4, rng=0, **EXACT), 30, 9),
    "nothing but padding": (nn.Conv2d(1, 1, 3, padding=3, rng=0, **EXACT), 9, 1),
    "rounded up": (nn.MaxPool2d(3, ceil_mode=True), 10, 1),
}


@pytest.mark.parametrize("name", PADDED)
def test_a_tile_before_the_last_may_reach_into_the_padding(name):
    layer, size, tile = PADDED[name]
    network, x = layer.prepare(), np.random.default_rng(0).standard_normal((1, 1, size, size), np.float32)
    np.testing.assert_array_equal(network.tiled(x, tile), network(x))
