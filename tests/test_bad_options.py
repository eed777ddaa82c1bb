"""Outside of the operators, too, an error names the argument: each of a good call is replaced by what does not fit."""

import copy
import inspect
import re

import numpy as np
import pytest

from convkit import analysis, data, models, nn, optim, train
from convkit._words import brief
from convkit.nn import losses
from convkit.optim import schedules
from refusals import ones

LABELS, SIGNS = np.array([0, 2, 1]), np.array([1.0, -1, 1])
LAYER, IMAGE = nn.Conv2d(1, 2, 3, rng=0), (1, 1, 5, 5)


def trainer(**changes):
    model = nn.Linear(3, 3, rng=0)
    return train.Trainer(**{"model": model, "optimizer": optim.SGD(model.parameters(), 0.1), **changes})


def learned():
    """Parameters with gradients."""
    parameter = nn.Parameter(np.ones(2))
    parameter.accumulate(np.ones(2))
    return [parameter]


# What makes a good call anew, since some change what they are given.
GOOD = {
    analysis.check_gradients: lambda: {"target": LAYER, "x": ones(*IMAGE)},
    analysis.conv_matrix: lambda: {"op": "conv2d", "x_shape": (1, 5, 5), "weight": ones(1, 1, 3, 3)},
    analysis.count_flops: lambda: {"model": LAYER, "input_shape": IMAGE},
    analysis.count_parameters: lambda: {"model": LAYER},
    analysis.effective_receptive_field: lambda: {"model": LAYER, "input_shape": IMAGE},
    analysis.output_size: lambda: {"input_size": (7, 7), "kernel_size": 2},
    analysis.receptive_field: lambda: {"model": LAYER, "input_shape": IMAGE},
    analysis.sampling_points: lambda: {"layer": nn.DeformConv2d(1, 2, 3, rng=0), "x": ones(*IMAGE)},
    analysis.summary: lambda: {"model": LAYER, "input_shape": IMAGE},
    models.cell_anchors: lambda: {"sizes": [32]},
    models.dcgan_generator: lambda: {"latent": 2, "width": 2},
    models.FeaturePyramid: lambda: {"in_channels": (2, 3), "out_channels": 2},
    models.grid_anchors: lambda: {"image_size": (8, 8), "map_sizes": [(2, 2)], "cells": [ones(3, 4)]},
    models.lenet5: dict,
    models.PyramidNetwork: lambda: {"stages": [LAYER], "neck": LAYER},
    models.pyramid_anchors: lambda: {"image_size": (8, 8)},
    models.resnet18: lambda: {"init": "zeros"},
    models.retinanet_anchors: lambda: {"image_size": (8, 8)},
    models.unet: lambda: {"width": 2, "depth": 1},
    data.affine: lambda: {"x": ones(*IMAGE)},
    data.crop: lambda: {"x": ones(*IMAGE), "size": 3},
    data.flip: lambda: {"x": ones(*IMAGE)},
    data.grayscale: lambda: {"x": ones(1, 3, 2, 2)},
    data.hsl_to_rgb: lambda: {"x": ones(1, 3, 2, 2)},
    data.Log: dict,
    data.MinMax: lambda: {"lo": 0, "hi": 1},
    data.minibatches: lambda: {"x": ones(3, 2), "y": LABELS, "batch_size": 2},
    data.rgb_to_hsl: lambda: {"x": ones(1, 3, 2, 2)},
    data.rotate: lambda: {"x": ones(*IMAGE), "degrees": 10},
    data.shift: lambda: {"x": ones(*IMAGE)},
    data.ZScore: dict,
    train.accuracy: lambda: {"scores": ones(3, 3), "labels": LABELS},
    train.confusion_matrix: lambda: {"labels": LABELS, "guesses": LABELS},
    train.EarlyStopping: dict,
    train.top_k: lambda: {"scores": ones(3, 3), "labels": LABELS, "k": 2},
    train.Trainer: lambda: dict(zip(("model", "optimizer"), vars(trainer()).values(), strict=False)),
    train.Trainer.fit: lambda: {"self": trainer(rng=0), "x": ones(3, 3), "y": LABELS, "epochs": 1},
    train.Trainer.evaluate: lambda: {"self": trainer(rng=0), "x": ones(3, 3), "y": LABELS},
    train.Trainer.predict: lambda: {"self": trainer(rng=0), "x": ones(3, 3)},
    losses.binary_cross_entropy_with_logits: lambda: {"scores": ones(3), "targets": ones(3)},
    losses.binary_hinge: lambda: {"scores": ones(3), "labels": SIGNS},
    losses.focal: lambda: {"scores": ones(3), "targets": ones(3)},
    losses.huber: lambda: {"predictions": ones(3), "targets": ones(3)},
    losses.l1: lambda: {"predictions": ones(3), "targets": ones(3)},
    losses.l1_penalty: lambda: {"model": LAYER, "strength": 0.1},
    losses.l2: lambda: {"predictions": ones(3), "targets": ones(3)},
    losses.l2_penalty: lambda: {"model": LAYER, "strength": 0.1},
    losses.multiclass_hinge: lambda: {"scores": ones(3, 3), "labels": LABELS},
    losses.negative_log_likelihood: lambda: {"log_probabilities": ones(3, 3), "labels": LABELS},
    losses.perceptron: lambda: {"scores": ones(3), "labels": SIGNS},
    losses.reduce: lambda: {"losses": ones(3), "grad": ones(3), "reduction": "mean"},
    losses.smooth_l1: lambda: {"predictions": ones(3), "targets": ones(3)},
    losses.softmax_cross_entropy: lambda: {"scores": ones(3, 3), "labels": LABELS},
    losses.zero_one: lambda: {"scores": ones(3, 3), "labels": LABELS},
    nn.init.he: lambda: {"shape": (3, 2)},
    nn.init.glorot_normal: lambda: {"shape": (3, 2)},
    nn.init.zeros: lambda: {"shape": (3, 2)},
    optim.Adam: lambda: {"parameters": learned()},
    optim.AdamW: lambda: {"parameters": learned()},
    optim.clip_grad_norm: lambda: {"parameters": learned(), "max_norm": 1},
    optim.clip_grad_value: lambda: {"parameters": learned(), "clip_value": 1},
    optim.decay_groups: lambda: {"model": LAYER},
    optim.EMA: lambda: {"model": LAYER},
    optim.RMSprop: lambda: {"parameters": learned()},
    optim.SGD: lambda: {"parameters": learned(), "lr": 0.1},
    schedules.Cosine: lambda: {"steps": 3},
    schedules.Exponential: lambda: {"factor": 0.5},
    schedules.Linear: lambda: {"steps": 3},
    schedules.MultiStep: lambda: {"milestones": [2, 3]},
    schedules.Product: lambda: {"schedules": [schedules.Step(2)]},
    schedules.Sequence: lambda: {"schedules": [schedules.Step(2), schedules.Step(2)], "milestones": [2]},
    schedules.Step: lambda: {"every": 2},
    schedules.WarmUp: lambda: {"steps": 3},
}  # fmt: skip
DOCUMENTED = (TypeError, ValueError, OverflowError)
BAD = [None, "best", 2.5, True, -1, 3, 10**400, np.nan, [], (1, 2, 3), ["a"], {}, object(), np.ones(2)]


# What models, layers and losses call what they are given; what is right by itself may not fit another argument.
OTHERS = "x|weight|scores"


@pytest.mark.parametrize("function", GOOD, ids=lambda function: function.__qualname__)
def test_an_error_names_an_argument(function, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a checkpoint may be called anything
    function(**GOOD[function]())
    parameters, wrong = inspect.signature(function).parameters, []
    named = re.compile(rf"({'|'.join([*parameters, OTHERS])})\b")
    for name, parameter in parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for value in BAD:
            try:
                function(**GOOD[function]() | {name: copy.copy(value)})
            except Exception as error:
                said = isinstance(error, DOCUMENTED) and len(str(error)) < 300 and "truth value" not in str(error)
                if not said or not (re.search(rf"\b{name}\b", str(error)) or named.match(str(error))):
                    wrong.append(f"{name}={brief(value)}: {type(error).__name__}: {brief(str(error))}")
    assert not wrong, "\n".join(wrong)


# What was taken for something else: an argument, a value, and what the error says.
REFUSED = [
    (analysis.check_gradients, "max_elements", 0, "at least 1"),
    (analysis.check_gradients, "rtol", 0, "above 0"),
    (analysis.check_gradients, "target", None, "a Module or a function"),
    (analysis.effective_receptive_field, "at", 3, "a sequence of ints"),
    (analysis.conv_matrix, "x_shape", 3, "a tuple of ints"),
    (losses.softmax_cross_entropy, "ignore_index", "a", "an int or None"),
    (losses.softmax_cross_entropy, "ignore_index", 2.5, "an int or None"),
    (losses.negative_log_likelihood, "ignore_index", True, "an int or None"),
    (train.accuracy, "ignore_index", [], "an int or None"),
    (data.minibatches, "shuffle", "no", "a bool"),
    (data.minibatches, "drop_last", 1, "a bool"),
    (train.Trainer.fit, "shuffle", "no", "a bool"),
    (train.Trainer.fit, "progress", "no", "a bool"),
    (train.Trainer, "guard", "a", "a bool"),
    (train.EarlyStopping, "restore_best", "no", "a bool"),
    (losses.l2_penalty, "biases", "no", "a bool"),
    (optim.SGD, "nesterov", "no", "a bool"),
    (optim.clip_grad_norm, "error_if_nonfinite", "no", "a bool"),
    (optim.clip_grad_norm, "parameters", LAYER, "an iterable of Parameters, got a Conv2d, whose parameters() are"),
    (data.flip, "probability", "a", "a number from 0 to 1"),
    (data.rotate, "degrees", (1, 2, 3), "two in rising order"),
    (data.MinMax, "lo", False, "two finite numbers"),
    (data.ZScore, "axis", "a", "an int or None"),
    (data.ZScore, "axis", True, "an int or None"),
    (train.Trainer.predict, "x", 3, "an array"),
    (schedules.Sequence, "schedules", [schedules.Step(2)], "at least two"),
    *((model, "num_classes", 0, "at least 1") for model in (models.lenet5, models.resnet18, models.unet)),
    (models.dcgan_generator, "latent", 0, "at least 1"),
    (models.dcgan_generator, "width", -1, "at least 1"),
    (models.cell_anchors, "dtype", "int32", "float32 or float64"),
    (models.grid_anchors, "cells", [ones(3)], "shape (A, 4)"),
    (nn.init.he, "shape", (3,), "that of a weight"),
]


@pytest.mark.parametrize(("function", "name", "value", "message"), REFUSED)
def test_what_was_taken_for_something_else_is_refused(function, name, value, message):
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\b.* must .*{re.escape(message)}"):
        function(**GOOD[function]() | {name: value})


def test_an_axis_that_samples_have_not_is_refused_where_they_are_seen():
    with pytest.raises(ValueError, match="^axis must be one of the 2 axes of x, got 9"):
        data.ZScore(axis=9).fit(ones(3, 2))


@pytest.mark.parametrize("guard", [True, False, 1, 0])
def test_a_guard_may_be_a_number(guard):
    assert trainer(guard=guard).guard == guard
