"""Losses: the value and its gradient side by side.

A loss is a function of a model's output and of what is known of the samples; it returns a `Loss`, and ``loss.grad``
goes straight into ``model.backward``. The loss of one sample is ``reduction="none"``; the cost of a set is its mean or
its sum. A mean has divided by ``loss.weight``, the number of the samples that count or the sum of their weights: means
of several batches, weighed by it, are the mean of all. A `Penalty` on the weights stands apart; the objective is the
sum of both.

==================  ============================================================================================
of classes          `softmax_cross_entropy`, `negative_log_likelihood`, `focal`, `multiclass_hinge`, `zero_one`
of two classes      `binary_cross_entropy_with_logits`, `binary_hinge`, `perceptron`
of numbers          `l1` (MAE), `l2` (MSE), `huber`, `smooth_l1`
of weights          `l1_penalty`, `l2_penalty`
==================  ============================================================================================

PyTorch's names stand for the same functions: `cross_entropy`, `nll_loss`, `l1_loss`, `mse_loss`, `huber_loss`,
`smooth_l1_loss`. Arguments are convkit's; in particular no label is ignored unless `ignore_index` says so.
"""

from ._common import Loss, NothingCountsError, reduce
from .binary import binary_cross_entropy_with_logits, binary_hinge, focal, perceptron
from .classes import negative_log_likelihood, softmax_cross_entropy
from .margins import multiclass_hinge, zero_one
from .penalties import Penalty, l1_penalty, l2_penalty
from .regression import huber, l1, l2, smooth_l1

cross_entropy, nll_loss = softmax_cross_entropy, negative_log_likelihood
l1_loss, mse_loss, huber_loss, smooth_l1_loss = l1, l2, huber, smooth_l1

__all__ = [
    "Loss",
    "NothingCountsError",
    "Penalty",
    "binary_cross_entropy_with_logits",
    "binary_hinge",
    "cross_entropy",
    "focal",
    "huber",
    "huber_loss",
    "l1",
    "l1_loss",
    "l1_penalty",
    "l2",
    "l2_penalty",
    "mse_loss",
    "multiclass_hinge",
    "negative_log_likelihood",
    "nll_loss",
    "perceptron",
    "reduce",
    "smooth_l1",
    "smooth_l1_loss",
    "softmax_cross_entropy",
    "zero_one",
]
