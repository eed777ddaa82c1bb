"""Random layers: what a seed gives, and that it is what the module says of itself."""

import math
from collections import Counter

import pytest

from convkit.benchmarks import draw
from convkit.benchmarks.layers import LAYERS, Layer

DRAWN = draw.random_layers(600, seed=3)


def test_a_seed_gives_the_same_layers_however_many_are_asked_for():
    assert draw.random_layers(20, seed=3) == DRAWN[:20]
    assert draw.random_layers(20, seed=4) != DRAWN[:20]
    # Figures name seeds: those of other versions are to be of the same layers.
    assert [layer.name for layer in DRAWN[:2]] == ["4->58 2 at 1082 b1", "26->118 4x4x4 at 7x4x31 s2 p1 b54"]
    assert draw.random_layers(5, 3, lambda layer: layer.nd == 3) == [layer for layer in DRAWN if layer.nd == 3][:5]


def test_all_can_be_computed_and_are_worth_timing():
    for layer in DRAWN:
        assert min(layer.out_spatial) >= 1
        assert draw.FLOPS[0] <= layer.flops <= draw.FLOPS[1]
        assert max(layer.elements.values()) <= draw.MOST_ELEMENTS
        assert layer.c_in % layer.groups == layer.c_out % layer.groups == 0


def test_kinds_and_dimensions_are_drawn_as_often_as_it_says():
    families = Counter(layer.family.removesuffix(" transposed") for layer in DRAWN)
    assert set(families) == set(draw.KINDS)
    assert {layer.family for layer in DRAWN} == set(draw.FAMILIES)
    assert families["dense"] > 1.5 * max(count for family, count in families.items() if family != "dense")
    assert 0.55 < Counter(layer.nd for layer in DRAWN)[2] / len(DRAWN) < 0.8
    assert 0.1 < Counter(layer.kind for layer in DRAWN)["convT"] / len(DRAWN) < 0.3
    assert {layer.stride for layer in DRAWN} == {1, 2, 3, 4}
    assert {layer.dilation for layer in DRAWN} == {1, 2, 3}
    assert len({layer.kernel for layer in DRAWN if layer.nd == 1}) > 10
    assert any(len(set(layer.spatial)) > 1 for layer in DRAWN) and any(len(set(layer.kernel)) > 1 for layer in DRAWN)


def test_names_tell_layers_apart():
    by_name = {layer.name: layer for layer in DRAWN}
    assert all(by_name[layer.name] == layer for layer in DRAWN)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("r50_3x3_64", "dense"),
        ("r50_1x1_64_256", "pointwise"),
        ("stem7x7s2", "few inputs"),
        ("resnext_g32", "grouped"),
        ("dw7_96_56", "depthwise"),
        ("dcgan_t4s2", "dense transposed"),
        ("dcn_64_56", "deformable"),
    ],
)
def test_families_of_published_layers(name, family):
    assert {layer.name: layer for layer in LAYERS}[name].family == family


def test_a_layer_counts_its_elements_and_says_its_sizes():
    layer = Layer("", "dcn2", 2, 4, (9, 11), 6, (3, 3), 2, (1, 2))
    assert (layer.x_shape, layer.y_shape) == ((2, 4, 9, 11), (2, 6, 5, 7))
    positions = math.prod(layer.out_spatial)
    images = {"x": 2 * 4 * 99, "y": 2 * 6 * positions, "offset": 2 * 18 * positions, "mask": 2 * 9 * positions}
    assert layer.elements == images | {"weight": 6 * 4 * 9}
    assert str(layer) == "dcn2 4->6 3x3 at 9x11 s2 p1x2 b2"
