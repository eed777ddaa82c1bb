"""The feature-pyramid neck: by hand, its gradients, and on a backbone."""

import numpy as np
import pytest

from convkit import models, nn
from convkit.analysis import check_gradients

CHANNELS = (2, 3, 4)
SHAPES = ((1, 2, 9, 7), (1, 3, 5, 4), (1, 4, 3, 2))  # odd sizes: each half of the one before, rounded up


def noise(seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]


class Flat(nn.Module):
    """The neck with its maps in one array, as `check_gradients` wants them."""

    def __init__(self, neck):
        self.neck = neck

    def run(self, x):
        ends = np.cumsum([np.prod(shape) for shape in SHAPES])[:-1]
        maps = [part.reshape(shape) for part, shape in zip(np.split(x, ends), SHAPES, strict=True)]
        out, through = self.neck.begin(maps)

        def back(grad, need_input):
            ends = np.cumsum([y.size for y in out])[:-1]
            grads = [part.reshape(y.shape) for part, y in zip(np.split(grad, ends), out, strict=True)]
            return np.concatenate([g.ravel() for g in through(grads)])

        return np.concatenate([y.ravel() for y in out]), back


def test_the_top_comes_down():
    """Layers that pass on their first channel: an output is its own map and all coarser ones, enlarged."""
    neck = models.FeaturePyramid(CHANNELS, 1, init="zeros")
    for block in neck.inner_blocks:
        block[0].weight.data[0, 0] = 1
    for block in neck.layer_blocks:
        block[0].weight.data[0, 0, 1, 1] = 1
    fine, middle, coarse = (image[0, 0] for image in noise())
    rows = [np.arange(9) * 5 // 9, np.arange(5) * 3 // 5]
    columns = [np.arange(7) * 4 // 7, np.arange(4) * 2 // 4]
    middle = middle + coarse[np.ix_(rows[1], columns[1])]
    expected = (fine + middle[np.ix_(rows[0], columns[0])], middle, coarse, coarse[::2, ::2])
    got = neck(noise())
    assert len(got) == 4
    for image, wanted in zip(got, expected, strict=True):
        np.testing.assert_array_equal(image[0, 0], wanted)


@pytest.mark.parametrize("coarser", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_gradients_are_those_of_central_differences(coarser):
    neck = models.FeaturePyramid(CHANNELS, 2, coarser=coarser, rng=0)
    x = np.concatenate([image.ravel() for image in noise(dtype="float64")])
    assert check_gradients(Flat(neck), x, max_elements=20).ok


def test_the_maps_that_are_given_stay_as_they_are():
    neck, maps = models.FeaturePyramid(CHANNELS, 2, rng=0), noise()
    out = neck(maps)
    grads = [np.ones_like(y) for y in out]
    neck.backward(grads)
    for image, before in zip(maps, noise(), strict=True):
        np.testing.assert_array_equal(image, before)
    assert all((g == 1).all() for g in grads)


@pytest.mark.thorough
def test_on_a_backbone():
    net = models.resnet18(rng=0)
    model = models.PyramidNetwork(
        [net[:5], net[5], net[6], net[7]], models.FeaturePyramid((64, 128, 256, 512), 16, rng=1)
    )
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 96), np.float32)
    out = model.eval()(x)
    assert [y.shape for y in out] == [(1, 16, *size) for size in [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]]
    assert model.output_shape(x.shape) == tuple(y.shape for y in out)
    assert sum(map(len, models.pyramid_anchors((64, 96)))) == 3 * sum(y[0, 0].size for y in out)
    grads = [np.zeros_like(y) for y in out]
    grads[2][...] = 1
    dx = model.backward(grads, need_input=True)
    step = 1e-2 * dx / np.abs(dx).max()
    slope = sum(float((up - down).sum()) for up, down in [(model(x + step)[2], model(x - step)[2])]) / 2
    assert slope == pytest.approx(float((dx * step).sum()), rel=1e-2)
    assert net[0].weight.grad is not None and net[7][1].branch[0].weight.grad is not None


class Spied(nn.Sequential):
    """A stage that writes down how its backward is called."""

    def run(self, x):
        y, through = super().run(x)

        def back(grad, need_input):
            self.called = need_input
            return through(grad, need_input)

        return y, back


@pytest.mark.parametrize("lowest", range(4))
def test_backward_stops_at_the_lowest_stage_that_learns(lowest):
    rng = np.random.default_rng(0)
    pairs = zip((1, *CHANNELS), CHANNELS, strict=False)
    stages = [Spied(nn.Conv2d(before, after, 3, 2, padding=1, rng=rng)) for before, after in pairs]
    for stage in stages[:lowest]:
        stage.freeze()
    model = models.PyramidNetwork(stages, models.FeaturePyramid(CHANNELS, 2, rng=rng))
    grads = [np.ones_like(y) for y in model(rng.standard_normal((1, 1, 16, 16), np.float32))]
    assert model.backward(grads, need_input=False) is None
    assert [getattr(stage, "called", None) for stage in stages] == [
        None if i < lowest else i > lowest for i in range(3)
    ]
    assert all((stage[0].weight.grad is not None) == (i >= lowest) for i, stage in enumerate(stages))
    assert all(p.grad is not None for p in model.neck.parameters())


def test_as_many_maps_as_there_are_blocks():
    with pytest.raises(ValueError, match="maps must be 3 arrays, the finest first, got 2"):
        models.FeaturePyramid(CHANNELS, 2, rng=0)(noise()[:2])
