"""A page of a user's code: `make lint` checks it by mypy --strict, `test_typing.py` runs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import convkit
from convkit import analysis, data, models, nn, optim, train
from convkit.nn import losses


class Scale(nn.ByElement):
    """A layer of one's own."""

    def __init__(self, channels: int) -> None:
        self.weight = nn.Parameter(np.ones((1, channels, 1, 1), np.float32))

    def run(self, x: np.ndarray) -> tuple[np.ndarray, nn.Way]:
        weight = self.weight.data

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray:
            self.weight.accumulate((grad * x).sum(axis=(0, 2, 3), keepdims=True))
            dx: np.ndarray = grad * weight
            return dx

        return x * weight, back

    def flops(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return int(np.prod(y_shape))


def operators(x: np.ndarray, weight: np.ndarray) -> Sequence[np.ndarray]:
    y = convkit.conv2d(x, weight, stride=2, padding="same", activation=("leaky_relu", 0.1))
    grads = convkit.conv2d_backward(np.ones_like(y), x, weight, stride=2, padding="same", need=("x", "weight"))
    prepared = convkit.prepare_conv2d(weight, padding=((1, 1), (1, 1)))
    small = convkit.interpolate(x, (4, 4), mode="bilinear", antialias=True)
    pooled = convkit.max_pool2d(x, 2)
    assert grads.x is not None and isinstance(pooled, np.ndarray)
    with convkit.threads(1), convkit.workspace_limit("64MB"):
        return [y, grads.x, prepared(x), small, pooled]


def network() -> nn.Sequential:
    body = nn.Residual(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, rng=0), nn.BatchNorm2d(8), Scale(8)))
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, rng=0), nn.ReLU(), body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )


def by_hand(model: nn.Module, x: np.ndarray, labels: np.ndarray) -> float:
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss = losses.softmax_cross_entropy(model(x), labels)
    model.zero_grad()
    model.backward(loss.grad, need_input=False)
    optimizer.step()
    return float(loss.value)


def by_trainer(model: nn.Module) -> float:
    digits = data.digits_split()
    trainer = train.Trainer(model, optim.AdamW(optim.decay_groups(model), lr=1e-3), rng=0)
    trainer.fit(digits.x_train[:64], digits.y_train[:64], epochs=1)
    scores: dict[str, float] = trainer.evaluate(digits.x_test[:64], digits.y_test[:64])
    return scores["accuracy"]


def looked_at(model: nn.Module) -> str:
    shape = (1, 1, 8, 8)
    network = model.prepare(shape)
    y: np.ndarray = network(np.zeros(shape, np.float32))
    fields = analysis.receptive_field(model, shape)
    flops: int = analysis.count_flops(models.lenet5(rng=0), (1, 1, 32, 32))
    return f"{y.shape}, {fields[0].size}, {flops}, {analysis.summary(model, shape).parameters}"
