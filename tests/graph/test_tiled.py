"""Tiles: the whole network's bits, whatever the tile, the layers and the borders."""

import ctypes

import numpy as np
import pytest
import zarr

from convkit import models, nn
from convkit.graph import Graph, Network
from convkit.graph.plan import Plan
from convkit.graph.table import Info
from tiled_networks import EXACT, TILED, conv

UNET_LAST = [pytest.param(name, marks=pytest.mark.thorough if name == "unet" else ()) for name in TILED]


@pytest.mark.parametrize("name", UNET_LAST)
def test_tiles_have_the_bits_of_the_whole(name):
    make, shape = TILED[name]
    network, x = make().eval().prepare(), np.random.default_rng(0).standard_normal(shape, np.float32)
    whole = network(x)
    for tile in (7, 16):
        tiled = network.tiled(x, tile)
        assert type(tiled) is type(whole)
        for got, expected in zip(tiled, whole, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("ratio", (3, 7))
@pytest.mark.parametrize("mode", ("bilinear", "bicubic"))
def test_tiles_that_are_enlarged_in_float64(mode, ratio):
    """Where an element's outputs lie does not follow from where it lies itself: not even in the last bit."""
    network = nn.Sequential(nn.Upsample(scale_factor=ratio, mode=mode)).prepare()
    x = np.random.default_rng(0).standard_normal((1, 1, 20, 23))
    np.testing.assert_array_equal(network.tiled(x, 16), network(x))


@pytest.mark.parametrize("shape", [(1, 3, 20, 9), (1, 20, 9, 9), (1, 3, 7, 8, 9), (1, 3, 40)], ids=str)
def test_normalisation_by_itself(shape):
    """A part of an image is no image whose values are neighbours, nor in the order that a whole one has."""
    nd, rng = len(shape) - 2, np.random.default_rng(0)
    norm, pool = (getattr(nn, name.format(nd)) for name in ("BatchNorm{}d", "MaxPool{}d"))
    for first in (pool(2, 1), nn.Upsample(scale_factor=2)):
        last = norm(shape[1])
        for _, value in last.named_buffers():
            value.data[...] = rng.uniform(0.5, 2, value.shape)
        network, x = nn.Sequential(first, last).prepare(), rng.standard_normal(shape, np.float32)
        np.testing.assert_array_equal(network.tiled(x, 5), network(x))


@pytest.mark.parametrize("name", ("strides", "rounding up", "modes"))
def test_tiles_of_one_or_two_elements(name):
    make, shape = TILED[name]
    network, x = make().prepare(), np.random.default_rng(0).standard_normal((1, shape[1], 13, 14), np.float32)
    for tile in (1, 2):
        np.testing.assert_array_equal(network.tiled(x, tile), network(x))


def test_numbers_of_channels_and_whatever_is_element_by_element():
    graph, x = Graph(), np.random.default_rng(0).standard_normal((1, 5, 20, 23), np.float32)
    graph.outputs = [graph.input("x").emit("ChannelNormalization", np.arange(5, dtype=np.float32)).emit("Floor")]
    graph.output_names = ["y"]
    np.testing.assert_array_equal(Network(graph).tiled(x, 7), Network(graph)(x))


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
    network = models.PyramidNetwork([conv(1, 3, 3)], models.FeaturePyramid((3,), 4, rng=0)).prepare()
    with pytest.raises(ValueError, match="out must have 2 arrays, one for each output, got 1"):
        network.tiled(np.zeros((1, 1, 20, 20), np.float32), 8, out=[None])
    graph = Graph()
    graph.outputs = list(graph.emit("MaxPool", [graph.input("x")], {"kernel_shape": (2, 2)}, 2))
    with pytest.raises(ValueError, match=r"bounded window for each output; it has MaxPool \(no layer\)"):
        Network(graph).tiled(np.zeros((1, 1, 20, 20), np.float32), 8)
    graph = Graph()
    graph.outputs = [graph.input("x") + np.ones((5, 1), np.float32)]
    with pytest.raises(
        ValueError, match=r"Add \(no layer\) cannot be cut into tiles: it takes a constant of shape \(5, 1\)"
    ):
        Network(graph).tiled(np.zeros((1, 1, 5, 20), np.float32), 8)
    with pytest.raises(ValueError, match=r"Resize \(no layer\) cannot be cut into tiles: it does not enlarge"):
        nn.Upsample(scale_factor=1.5).prepare().tiled(np.zeros((1, 1, 20, 20), np.float32), 8)


def test_a_part_that_cannot_be_read_or_written_is_named(tmp_path):
    network, shape = conv(1, 1, 3, padding=1).prepare(), (1, 1, 20, 20)
    options = {"shape": shape, "chunks": (1, 1, 10, 10), "dtype": np.float32, "compressors": None}
    x, y = (zarr.create_array(str(tmp_path / name), **options) for name in ("x.zarr", "y.zarr"))
    x[:] = 1
    (tmp_path / "y.zarr/c").write_text("no folder")
    with pytest.raises(OSError, match=r"out must be writable, got .* for \[0:1, 0:1, 0:10, 0:10\] of .*y\.zarr"):
        network.tiled(x, 10, out=y)
    (tmp_path / "x.zarr/c/0/0/1/0").write_bytes(b"torn")
    with pytest.raises(OSError, match=r"x must be readable, got .* for \[0:1, 0:1, 0:11, 0:11\] of .*x\.zarr"):
        network.tiled(x, 10)


def overlapping(x):
    return np.lib.stride_tricks.as_strided(np.zeros(400, np.float32), x.shape, (0, 0, 4, 4))


def read_only(x):
    return np.broadcast_to(np.float32(0), x.shape)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (lambda x: x, ValueError, "out must not share memory with x"),
        (lambda x: x[:, :, ::-1], ValueError, "out must not share memory with x"),
        (overlapping, ValueError, "out must not overlap itself"),
        (read_only, ValueError, "out must be writable"),
        (lambda x: x.astype(np.int32), TypeError, "out must have dtype float32, got int32"),
        (lambda x: zarr.zeros(x.shape, dtype="f8"), TypeError, "out must have dtype float32, got float64"),
        (lambda x: [1], TypeError, "out must have a shape and a dtype, got list"),
    ],
)
def test_what_tiles_cannot_be_written_to_is_refused(out, error, message):
    network, x = conv(1, 1, 3, padding=1).prepare(), np.ones((1, 1, 20, 20), np.float32)
    with pytest.raises(error, match=message):
        network.tiled(x, 8, out=out(x))
    assert x.all()


def test_tiles_are_written_in_either_byte_order_and_beside_their_image():
    network, both = conv(1, 1, 3, padding=1).prepare(), np.ones((1, 2, 20, 20), np.float32)
    x, stored, swapped = both[:, :1], zarr.ones((1, 1, 20, 20), dtype="f4"), np.empty((1, 1, 20, 20), ">f4")
    y = network(x)
    np.testing.assert_array_equal(network.tiled(x, 8, out=both[:, 1:]), y)
    np.testing.assert_array_equal(network.tiled(x, 8, out=swapped), y)
    with pytest.raises(ValueError, match="out must not share memory with x, got the same Array"):
        network.tiled(stored, 8, out=stored)
    with pytest.raises(TypeError, match="x must have a shape and a dtype, got list"):
        network.tiled([1], 8)


def test_outputs_do_not_overwrite_one_another():
    class Both(nn.Module):
        def run(self, x):
            return (np.exp(x), np.sqrt(x)), None

    network, x, out = Both().prepare(), np.ones((1, 1, 20, 20), np.float32), np.empty((1, 1, 20, 20), np.float32)
    with pytest.raises(ValueError, match="out must not share memory with another output"):
        network.tiled(x, 8, out=[out, out])


def test_tiles_share_their_memory(monkeypatch):
    """There are nine kinds of tiles, each with a plan of its own, and memory for one of the largest."""
    made = []
    monkeypatch.setattr(Plan, "arena", lambda plan, of=Plan.arena: made.append(plan) or of(plan))
    network, x = (
        nn.Sequential(conv(1, 40, 3, padding=1), conv(40, 1, 3, padding=1)).prepare(),
        np.zeros((1, 1, 500, 500), np.float32),
    )
    network.tiled(x, 100)
    assert len(made) <= 3 and made[0] is not made[-1]


def test_parts_are_converted_as_they_are_read():
    network, rng = conv(2, 3, 3, padding=1).prepare(), np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 2, 20, 23), np.uint8)
    for _ in range(2):  # before the first call and after it
        with pytest.raises(TypeError, match="x must have dtype float32, got uint8; convert="):
            network.tiled(x, 8)
        tiled = network.tiled(x, 8, convert=lambda part: part.astype(np.float32) / 255)
        np.testing.assert_array_equal(tiled, network(x.astype(np.float32) / 255))
    with pytest.raises(ValueError, match=r"convert must keep the shape of a part, \(1, 2, 1, 1\), got \(1,\)"):
        network.tiled(x, 8, convert=lambda part: part.reshape(-1)[:1].astype(np.float32))
    with pytest.raises(TypeError, match="convert must be a function of a part, or None, got 3"):
        network.tiled(x, 8, convert=3)
    with pytest.raises(TypeError, match="what convert returns must have dtype float32, got float64"):
        network.tiled(x, 8, convert=lambda part: part / 255)


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


@pytest.mark.thorough
def test_files_that_are_mapped_do_not_count_as_memory(python):
    """Pages of a memmap that were touched once stay mapped while there is room: 17 GB of two files of 8 GB."""
    code = """
import numpy as np
from convkit import nn

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

shape = (1, 1, 300, 400, 400)
x, y = (np.memmap(name, np.float32, "w+", shape=shape) for name in ("x.dat", "y.dat"))
x[..., 290:, 390:, 390:] = 2
private = np.memmap("x.dat", np.float32, "c", shape=shape)
private[..., :9, :9, :9] = 3
network = nn.Sequential(nn.Conv3d(1, 1, 1, rng=0)).prepare()
x.flush()
before = peak()
network.tiled(x, 100, out=y)
print(peak() - before)
assert y.tobytes() == network(np.asarray(x)).tobytes()
network.tiled(private, 100, out=y)
assert (private[..., :9, :9, :9] == 3).all() and y.tobytes() == network(np.asarray(private)).tobytes()
"""
    ran = python(code)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 150e6  # 384 MB together


def test_files_whose_pages_are_locked(tmp_path):
    """As after mlockall; the system refuses to unmap them."""
    network, shape = nn.Conv2d(1, 1, 1, rng=0).prepare(), (1, 1, 32, 32)
    x, y = (np.memmap(tmp_path / name, np.float32, "w+", shape=shape) for name in "xy")
    x[...] = 2
    for array in (x, y):
        assert ctypes.CDLL(None).mlock(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)) == 0
    network.tiled(x, 16, out=y)
    np.testing.assert_array_equal(y, network(np.asarray(x)))


def test_a_network_of_integers_takes_them():
    graph, x = Graph(), np.random.default_rng(0).integers(0, 256, (1, 2, 20, 23), np.uint8)
    graph.outputs = [graph.input("x", Info(x.shape, x.dtype)).emit("Cast", to=np.dtype(np.float32)).emit("Sqrt")]
    graph.output_names = ["y"]
    network = Network(graph)
    np.testing.assert_array_equal(network.tiled(x, 7), network(x))
