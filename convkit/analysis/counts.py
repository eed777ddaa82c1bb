"""How many numbers a model learns, and how much arithmetic it takes."""

from __future__ import annotations

from .._options import flag, of_kind
from ..graph.network import Network
from ..nn.module import Module
from .trace import trace


def count_parameters(model: Module, *, trainable: bool | None = None) -> int:
    """Numbers in the model's parameters; those that layers share count once, running statistics not at all.

    Parameters
    ----------
    model : Module
    trainable : bool or None
        True counts only what learns, False only what is frozen, None both.

    Returns
    -------
    int

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, rng=0).freeze(), nn.BatchNorm2d(8))
    >>> analysis.count_parameters(model), analysis.count_parameters(model, trainable=True)  # 216 + 8, and 8 + 8
    (240, 16)
    """
    of_kind(model, Module, "model", "a Module")
    if trainable is not None:
        flag(trainable, "trainable")
    chosen = (p for p in model.parameters() if trainable is None or p.trainable == trainable)
    return sum(parameter.size for parameter in chosen)


def count_flops(model: Module | Network, input_shape: tuple[int, ...]) -> int:
    """FLOPs of one forward pass, one multiply-add = 2: those of its graph's nodes, or what layers say (`Module.flops`).

    Parameters
    ----------
    model : Module or Network
        Traced in evaluation, and left as it was.
    input_shape : tuple of int
        Of the batch, its first axis the images: the FLOPs are those of all of them.

    Returns
    -------
    int
        Twice the multiply-adds. Tools that count multiply-adds (and often call them FLOPs) give half of it.

    Notes
    -----
    A convolution or linear layer costs 2 FLOPs for each of its weights and each position: pixel of the output, of the
    input if it is transposed, or row of a linear layer. Taps that lie on padding count. Biases, normalisation,
    activations, pooling, sampling and the sums of residual blocks do not: they are limited by memory, not by
    arithmetic.

    A backward pass costs the same once more for the input's gradient and once more for the weight's.

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> conv = nn.Conv2d(3, 8, 3, padding=1, rng=0)
    >>> analysis.count_parameters(conv), analysis.count_flops(conv, (1, 3, 10, 10))  # 216 weights at 100 positions
    (224, 43200)
    """
    return sum(call.flops for call in trace(model, input_shape).calls)
