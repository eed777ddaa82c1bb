"""The models and anchors against torchvision's, weights moved both ways; run by `make test-peers`."""

import numpy as np
import pytest
import torch

from convkit import models
from torchvision_here import torchvision

NETWORKS = {"alexnet": 63, "vgg16": 32, "resnet18": 64, "resnet50": 64, "mobilenet_v2": 64}
RTOL = 1e-4  # float32 on both sides


def uniform(shape, *, rng, dtype):
    """He's variance, quicker drawn: there are 138 million."""
    return (rng.random(shape, np.float32) - np.float32(0.5)) * np.float32(np.sqrt(24 / np.prod(shape[1:])))


def pair(name):
    """torchvision's network, its weights its own, its batch statistics moved; and ours with other weights."""
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=10)
    x = np.random.default_rng(0).standard_normal((8, 3, NETWORKS[name], NETWORKS[name]), np.float32)
    if any("running" in key for key in theirs.state_dict()):
        for _ in range(3):
            theirs.train()(torch.from_numpy(2 * x + 1))
    return theirs.eval(), getattr(models, name)(10, init=uniform, rng=1).eval(), x[:2]


def assert_agree(ours, theirs, x):
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    error = np.abs(ours(x) - expected).max() / np.abs(expected).max()
    assert error < RTOL


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_move_here_and_back(name):
    theirs, ours, x = pair(name)
    mine = {key: array.copy() for key, array in ours.state_dict().items()}
    keys = ours.load_state_dict({key: array.numpy() for key, array in theirs.state_dict().items()})
    assert keys == ([], [])
    assert_agree(ours, theirs, x)
    ours.load_state_dict(mine)
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in mine.items()})
    assert_agree(ours, theirs, x)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_shapes_and_order_of_the_state(name):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)().state_dict()
    ours = getattr(models, name)(init="zeros").state_dict()
    assert [(key, array.shape) for key, array in ours.items()] == [(k, tuple(v.shape)) for k, v in theirs.items()]


def test_batch_statistics_move_alike():
    theirs, ours, _ = pair("resnet18")
    ours.load_state_dict({key: array.numpy() for key, array in theirs.state_dict().items()})
    x = np.random.default_rng(2).standard_normal((8, 3, 64, 64), np.float32)
    ours.train()(x)
    theirs.train()(torch.from_numpy(x))
    for key, array in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], array.numpy(), rtol=RTOL, atol=RTOL, err_msg=key)


SIZES = (32, 64, 128, 256, 512)
OCTAVES = tuple(tuple(int(size * 2 ** (third / 3)) for third in range(3)) for size in SIZES)


@pytest.mark.parametrize(
    ("ours", "sizes", "first"),
    [(models.pyramid_anchors, tuple((size,) for size in SIZES), 4), (models.retinanet_anchors, OCTAVES, 8)],
)
@pytest.mark.parametrize("image_size", [(256, 320), (128, 128), (250, 333)])
def test_anchors(ours, sizes, first, image_size):
    detection = torchvision.models.detection
    generator = detection.anchor_utils.AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    maps = [torch.zeros(1, 1, *(-(-size // (first << level)) for size in image_size)) for level in range(5)]
    images = detection.image_list.ImageList(torch.zeros(1, 3, *image_size), [image_size])
    (expected,) = generator(images, maps)
    np.testing.assert_array_equal(np.concatenate(ours(image_size)), expected.numpy())
