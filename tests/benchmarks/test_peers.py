"""SciPy as a peer, which is here wherever tests are; the others are in tests/peers."""

import argparse

import numpy as np
import pytest

from convkit.benchmarks import peers
from convkit.benchmarks.layers import Layer
from convkit.benchmarks.peers import scipy
from convkit.benchmarks.problem import NotOfferedError, Problem, Setting, difference, ours
from missing import hide

LAYERS = (
    Layer("dense", "conv", 2, 4, (9, 10), 6, (3, 4), 2, (1, 2), 2),
    Layer("grouped", "conv", 1, 4, (20,), 6, (5,), 1, 2, 1, 2),
    Layer("depthwise", "conv", 2, 3, (5, 6, 7), 3, (2, 3, 1), 1, 0, 1, 3),
    Layer("transposed", "convT", 2, 4, (5, 6), 6, (4, 3), 2, 1, 1, 2),
)


@pytest.mark.parametrize("formulation", (scipy._by_transforms, scipy._by_pairs))
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_both_formulations_are_the_convolution(layer, formulation):
    problem = Problem(layer, "forward", Setting("float64"))
    (wanted, _) = ours(problem)
    calls = formulation(problem)
    assert len(calls) == (0 if (layer.kind, formulation) == ("convT", scipy._by_pairs) else 1)
    for call in calls:
        assert difference({"y": call()}, wanted.read(wanted.call())) is None


def test_the_faster_formulation_is_taken(monkeypatch):
    def formulation(value):
        return lambda problem: [lambda: np.full(problem.layer.y_shape, value)]

    monkeypatch.setattr(scipy, "_by_transforms", formulation(1.0))
    monkeypatch.setattr(scipy, "_by_pairs", formulation(2.0))
    monkeypatch.setattr(scipy, "_seconds", lambda call: -call().max())
    contender = peers.load("scipy")(Problem(LAYERS[0], "forward", Setting()))
    assert contender.read(contender.call())["y"].max() == 2


@pytest.mark.parametrize(("kind", "direction"), [("conv", "backward"), ("dcn", "forward")])
def test_what_it_cannot_do_is_refused(kind, direction):
    with pytest.raises(NotOfferedError, match="SciPy"):
        scipy.build(Problem(Layer("", kind, 1, 1, (4, 4), 1, (1, 1)), direction, Setting()))


def test_what_takes_too_much_memory_and_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(scipy, "MOST_BYTES", 100)
    monkeypatch.setattr(scipy, "MOST_PAIRS", 10)
    with pytest.raises(NotOfferedError, match="memory"):
        scipy.build(Problem(LAYERS[0], "forward", Setting()))


@pytest.mark.parametrize("words", ["torch,scipy", "torch scipy", "torch, scipy", "torch,scipy torch"])
def test_commas_and_blanks_separate_peers(words):
    parser = argparse.ArgumentParser()
    peers.add_against(parser)
    assert parser.parse_args([]).against == []
    assert parser.parse_args(["--against", *words.split()]).against == ["torch", "scipy"]


def test_a_peer_that_a_script_does_not_know_is_named(capsys):
    parser = argparse.ArgumentParser()
    peers.add_against(parser, ("torch",))
    with pytest.raises(SystemExit):
        parser.parse_args(["--against", "torch,scipy"])
    assert "--against: must be of torch, got 'scipy'" in capsys.readouterr().err


def test_without_torchvision_there_is_no_deformable_convolution(monkeypatch):
    hide(monkeypatch, "torchvision")
    with pytest.raises(NotOfferedError, match="is torchvision's, which does not load: torchvision is not installed"):
        peers.torchvision_deform()
