"""Receptive fields: known figures, and every line of the table against what gradients say an output depends on."""

import numpy as np
import pytest

import convkit
from convkit import models, nn
from convkit.analysis import effective_receptive_field, receptive_field
from convkit.graph import Graph, Network


def conv(c_in, c_out, *args, **options):
    return nn.Conv2d(c_in, c_out, *args, bias=False, rng=0, **options)


def last(model, *input_shape):
    return receptive_field(model, input_shape)[-1]


# ---------------------------------------------------------------- known figures


@pytest.mark.parametrize(("count", "pixels"), [(1, 3), (2, 5), (3, 7)])
def test_stacked_3x3(count, pixels):
    field = last(nn.Sequential(*(conv(1, 1, 3) for _ in range(count))), 1, 1, 9, 9)
    assert field == (str(count - 1), (pixels, pixels), (1, 1), (0, 0))


def test_three_3x3_are_cheaper_than_a_7x7():
    channels = 5
    three = nn.Sequential(*(conv(channels, channels, 3) for _ in range(3)))
    one = conv(channels, channels, 7)
    assert last(three, 1, channels, 9, 9).size == last(one, 1, channels, 9, 9).size == (7, 7)
    assert sum(p.size for p in three.parameters()) == 27 * channels**2
    assert sum(p.size for p in one.parameters()) == 49 * channels**2


def test_vgg_16():
    fields = receptive_field(models.vgg16(init="zeros")[0], (1, 3, 32, 32))
    assert fields[-1] == ("30", (212, 212), (32, 32), (-90, -90))
    sizes = [field.size[0] for field in fields if field.name in ("4", "9", "16", "23", "30")]
    assert sizes == [6, 16, 44, 100, 212]


@pytest.mark.thorough
def test_resnet_50():
    fields = {field.name: field for field in receptive_field(models.resnet50(init="zeros"), (1, 3, 64, 64))}
    assert fields["maxpool"].size == (11, 11)
    assert fields["layer4.2.relu"].size == (427, 427) and fields["layer4.2.relu"].jump == (32, 32)
    assert "flatten" not in fields and "fc" not in fields


def test_a_table():
    text = str(receptive_field(nn.Sequential(conv(1, 1, 3, (2, 1)), nn.ReLU()), (1, 1, 9, 9)))
    assert [line.split() for line in text.splitlines()] == [
        ["layer", "size", "jump", "start"], ["0", "3x3", "2x1", "0x0"], ["1", "3x3", "2x1", "0x0"],
    ]  # fmt: skip


# ---------------------------------------------------------------- against gradients


class Shifted(nn.Module):
    """Branches that meet in NumPy: a sum with a step to the side, times a gate of one number a channel."""

    def __init__(self):
        self.left, self.right = conv(1, 2, 3, padding=((0, 2), (1, 1))), conv(1, 2, 3, padding=((2, 0), (1, 1)))
        self.scale = np.full((1, 2, 1, 1), 2.0, np.float32)

    def run(self, x):
        (y, left), (other, right) = self.left.begin(x), self.right.begin(x)
        y += other * self.scale

        def back(grad, need_input):
            grad = grad[:, :2] + np.pad(grad[:, 2:], ((0, 0), (0, 1), (0, 0), (0, 0)))
            return left(grad) + right(grad * self.scale)

        return np.concatenate([y, y[:, :1]], axis=1), back


NETWORKS = {
    "strided": (lambda: nn.Sequential(conv(1, 2, 3, 2, 1), conv(2, 2, 5, 3, 2)), (1, 1, 40, 50)),
    "dilated, even, lopsided": (
        lambda: nn.Sequential(conv(1, 1, (2, 4), 1, ((3, 0), (1, 2)), dilation=(3, 1)), conv(1, 1, 3, padding="same")),
        (1, 1, 20, 17),
    ),
    "same, lower": (lambda: conv(1, 1, 4, 3, "same_lower"), (1, 1, 11, 13)),
    "channels last": (lambda: nn.Sequential(conv(1, 2, 3, 2, layout="NHWC"), nn.ReLU()), (1, 12, 9, 1)),
    "one axis": (lambda: nn.Conv1d(1, 1, 5, 2, dilation=2, bias=False, rng=0), (1, 1, 30)),
    "three axes": (lambda: nn.Conv3d(1, 1, (1, 2, 3), (2, 1, 1), bias=False, rng=0), (1, 1, 5, 6, 7)),
    "pooled": (lambda: nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2)), (1, 1, 21, 30)),
    "pooled to a size": (lambda: nn.Sequential(conv(1, 1, 3), nn.AdaptiveAvgPool2d((3, 4))), (1, 1, 13, 17)),
    "pooled to one": (lambda: nn.Sequential(conv(1, 1, 3, padding=1), nn.GlobalAvgPool2d()), (1, 1, 6, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(1, 1, 4, 2, 1, rng=0), (1, 1, 6, 7)),
    "transposed, stride over kernel": (lambda: nn.ConvTranspose2d(1, 1, 2, 3, 1, 1, rng=0), (1, 1, 6, 7)),
    "transposed, dilated": (lambda: nn.ConvTranspose2d(1, 1, 3, 2, dilation=3, rng=0), (1, 1, 6, 7)),
    "down and up": (
        lambda: nn.Sequential(conv(1, 2, 3, 2, 1), nn.ConvTranspose2d(2, 2, 4, 2, 1, rng=0), conv(2, 1, 3)),
        (1, 1, 20, 22),
    ),
    "nearest": (lambda: nn.Sequential(conv(1, 1, 3), nn.Upsample(scale_factor=2)), (1, 1, 7, 8)),
    "nearest to a size": (lambda: nn.Upsample((13, 5)), (1, 1, 5, 9)),
    "nearest, exact": (lambda: nn.Upsample(scale_factor=(1.7, 0.6), mode="nearest-exact"), (1, 1, 7, 12)),
    "bilinear": (lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv(1, 1, 3)), (1, 1, 7, 8)),
    "bilinear to a size": (lambda: nn.Upsample((13, 5), mode="bilinear"), (1, 1, 5, 9)),
    "bilinear, corners": (lambda: nn.Upsample((13, 1), mode="bilinear", align_corners=True), (1, 1, 5, 9)),
    "bicubic": (lambda: nn.Upsample(scale_factor=(3, 1), mode="bicubic"), (1, 1, 7, 5)),
    "antialiased": (lambda: nn.Upsample((3, 7), mode="bilinear", antialias=True), (1, 1, 13, 11)),
    "area": (lambda: nn.Sequential(conv(1, 1, 3), nn.Upsample((4, 3), mode="area")), (1, 1, 13, 11)),
    "shuffled": (lambda: nn.Sequential(conv(1, 4, 3), nn.PixelShuffle(2), conv(1, 1, 2)), (1, 1, 7, 8)),
    "framed": (lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), conv(1, 1, 3, 2)), (1, 1, 7, 8)),
    "residual": (lambda: nn.Residual(nn.Sequential(conv(1, 1, 5, padding=2), conv(1, 1, 3, padding=1))), (1, 1, 12, 9)),
    "residual, strided": (lambda: nn.Residual(conv(1, 1, 5, 2, 2), conv(1, 1, 1, 2)), (1, 1, 12, 9)),
    "joined": (lambda: nn.Concat(conv(1, 1, 3, 2, 1), conv(1, 1, (1, 4), 2, (0, 1))), (1, 1, 11, 12)),
    "joined, of two steps": (lambda: nn.Concat(conv(1, 1, 7, 7), nn.AdaptiveAvgPool2d(5)), (1, 1, 41, 41)),
    "in NumPy": (Shifted, (1, 1, 9, 8)),
    "normalised": (lambda: nn.Sequential(conv(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Tanh()), (1, 1, 7, 7)),
    "separable": (lambda: nn.DepthwiseSeparableConv2d(1, 2, 3, padding=1, rng=0), (1, 1, 6, 7)),
    "deformable at rest": (lambda: nn.DeformConv2d(1, 1, 3, 2, 1, modulated=False, rng=0), (1, 1, 9, 9)),
    "a U-Net": (lambda: models.unet(width=1, depth=2, rng=0), (1, 1, 16, 20)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", NETWORKS)
def test_an_output_depends_on_its_field_and_on_nothing_else(name):
    """Weights are positive, so nothing cancels; some output reaches each end of its field, unless it is cut off."""
    make, shape = NETWORKS[name]
    model = nn.Sequential(make(), nn.Dropout())  # the last one sees where branches meet
    for path, parameter in model.named_parameters():
        if "conv_offset" not in path:
            parameter.data[...] = 0.5
    field = receptive_field(model, shape)[-1]
    assert field.name == "1"
    shape_y = model.eval()(np.zeros(shape, np.float32)).shape
    last_axis = name == "channels last"
    in_, out = ((s[1:-1] if last_axis else s[2:]) for s in (shape, shape_y))
    reached = {(axis, side): False for axis in range(len(in_)) for side in ("start", "end")}
    for at in np.ndindex(*out):
        seen = np.nonzero(effective_receptive_field(model, shape, at=at).gradient)
        for axis, (i, size) in enumerate(zip(at, in_, strict=True)):
            if not len(seen[axis]):
                continue
            start = field.start[axis] + i * field.jump[axis]
            end = start + field.size[axis]
            assert start <= seen[axis].min() and seen[axis].max() < end, (at, axis)
            reached[axis, "start"] |= seen[axis].min() < start + 1 or start < 0
            reached[axis, "end"] |= seen[axis].max() + 1 > end - 1 or end > size
    assert all(reached.values()), reached


class Unpooled(nn.Module):
    def __init__(self):
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def run(self, x):
        return self.unpool(*self.pool(x)), None


def test_unpooled():
    """An output can be the largest of its 2x2 pixels: an even one has one after it, an odd one before it."""
    assert last(Unpooled(), 1, 1, 8, 6) == ("unpool", (3, 3), (1, 1), (-1, -1))


@pytest.mark.thorough
def test_a_pyramid():
    net = models.resnet18(init="zeros")
    model = models.PyramidNetwork(
        [net[:5], net[5], net[6], net[7]], models.FeaturePyramid((64, 128, 256, 512), 8, init="zeros")
    )
    sizes = {field.name: field.size[0] for field in receptive_field(model, (1, 3, 128, 128))}
    assert sizes["stages.3.1.relu"] == 435
    # To that an enlargement adds half a jump, and the 3x3 two jumps: those are 32, 16, 8 and 4.
    expected = [435 + 16 + 8 + 4 + 8, 435 + 16 + 8 + 16, 435 + 16 + 32, 435 + 64]
    assert [sizes[f"neck.layer_blocks.{i}.0"] for i in range(4)] == expected
    assert sizes["neck.coarser"] == 499


# ---------------------------------------------------------------- what cannot be known


class Cropped(nn.Module):
    def __init__(self):
        self.conv, self.then = conv(1, 1, 3), nn.ReLU()

    def run(self, x):
        return self.then(self.conv(x)[:, :, 1:]), None


class WithoutLayer(Cropped):
    """A sum with what went through an operator that is no layer."""

    def run(self, x):
        y = self.conv(x)
        return self.then(y + convkit.conv2d(np.asarray(x), self.conv.weight.data)), None


class OfOnesOwn(nn.Module):
    """A layer of a class that convkit does not know."""

    def run(self, x):
        return x[:, :, ::2], None


@pytest.mark.parametrize(
    "model", [Cropped(), WithoutLayer(), nn.Sequential({"conv": conv(1, 1, 3), "own": OfOnesOwn(), "then": nn.ReLU()})]
)
def test_what_is_not_known_is_left_out(model):
    assert [field.name for field in receptive_field(model, (1, 1, 8, 8))] == ["conv"]


def test_a_network_is_seen_through_whatever_is_element_by_element():
    graph, weight = Graph(), np.ones((1, 1, 3, 3), np.float32)
    x = graph.input("x").emit("Conv", weight).emit("Floor").emit("Sin")
    graph.outputs, graph.output_names = [x.emit("Conv", weight)], ["y"]
    assert last(Network(graph), 1, 1, 9, 9).size == (5, 5)


# ---------------------------------------------------------------- the part that is heard


def test_the_effective_field_is_smaller_and_in_the_middle():
    model = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1, bias=False, rng=i) for i in range(8)))
    gradient, size = effective_receptive_field(model, (8, 4, 31, 31))
    assert gradient.shape == (31, 31) and gradient.dtype == np.float64
    rows, columns = np.nonzero(gradient)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 23, 7, 23)
    assert 8 < size < 16
    assert gradient[13:18, 13:18].mean() > 5 * gradient[7:24, 7].mean()


def test_the_effective_field_of_one_averaging_layer_is_all_of_it():
    layer = conv(1, 1, 5, 2)
    layer.weight.data[...] = 0.25
    gradient, size = effective_receptive_field(layer, (3, 1, 9, 11), at=(0, 3))
    expected = np.zeros((9, 11))
    expected[:5, 6:11] = 0.25
    np.testing.assert_array_equal(gradient, expected)
    assert size == 5


@pytest.mark.parametrize("at", [(0,), (3, 0), (0, -1)])
def test_a_place_that_is_not_there(at):
    with pytest.raises(ValueError, match=r"at must be a position in the output, of spatial shape \(3, 4\), got"):
        effective_receptive_field(conv(1, 1, 5, 2), (1, 1, 9, 11), at=at)
