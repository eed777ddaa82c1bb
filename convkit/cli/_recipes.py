"""What `convkit train` knows by name, and how a training is put together from such names."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np

from .. import data, models, nn, optim
from .._shapes import integer
from ..nn import losses
from ..optim import schedules
from ..train import Trainer


@dataclass(frozen=True)
class Settings:
    """All that a training follows from; the defaults were chosen by cross-validation on the digits to learn from."""

    data: str = "digits"
    size: int = 0
    grey: bool = False
    normalize: str = "none"
    augment: str = "affine"
    validate: bool = False
    model: str = "cnn"
    loss: str = "softmax_cross_entropy"
    optimizer: str = "nesterov"
    schedule: str = "cosine"
    warmup: int = 1
    lr: float = 0.08
    weight_decay: float = 1e-3
    epochs: int = 40
    batch_size: int = 64
    seed: int = 0
    shards: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = f"--{field.name.replace('_', '-')}", getattr(self, field.name)
            kind = int if field.default is None else type(field.default)
            if value is None and field.default is None:
                continue
            if type(value) is not kind:
                raise ValueError(f"{name} must be of type {kind.__name__}, got {value!r}")
            if field.name in CHOICES and value not in CHOICES[field.name]:
                raise ValueError(f"{name} must be one of {', '.join(CHOICES[field.name])}, got {value!r}")
            least = 1 if field.name in ("epochs", "batch_size", "shards") else 0
            if kind in (int, float) and not least <= value < math.inf:
                number = "whole" if kind is int else "finite"
                raise ValueError(f"{name} must be a {number} number of at least {least}, got {value!r}")
            if kind is int and field.name != "seed":  # which may be of any length
                integer(value, name)


# ---------------------------------------------------------------- networks


def cnn(image: tuple[int, int, int], classes: int, rng: np.random.Generator) -> nn.Sequential:
    """Four convolutions, the last two of which halve the image ``(C, H, W)``, and a linear layer."""
    channels, height, width = image
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1, rng=rng),
        nn.ReLU(),
        nn.Conv2d(64, 128, 3, stride=2, padding=1, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128 * math.ceil(height / 4) * math.ceil(width / 4), classes, init="glorot", rng=rng),
    )


def mlp(image: tuple[int, int, int], classes: int, rng: np.random.Generator) -> nn.Sequential:
    """One hidden layer of 256."""
    hidden = nn.Linear(math.prod(image), 256, rng=rng)
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(256, classes, init="glorot", rng=rng))


def linear(image: tuple[int, int, int], classes: int, rng: np.random.Generator) -> nn.Sequential:
    """Scores that are linear in the pixels: with cross-entropy logistic regression, with the hinge a linear SVM."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image), classes, init="zeros", rng=rng))


def _published(model: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """One of `convkit.models`, most of which need larger images than the digits."""
    return lambda image, classes, rng: model(classes, in_channels=image[0], rng=rng)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "cnn": cnn,
    "mlp": mlp,
    "linear": linear,
    "lenet5": _published(models.lenet5),
    "alexnet": _published(models.alexnet),
    "vgg16": _published(models.vgg16),
    "resnet18": _published(models.resnet18),
    "resnet50": _published(models.resnet50),
    "mobilenet_v2": _published(models.mobilenet_v2),
}


# ---------------------------------------------------------------- losses, optimizers, schedules


def squares(scores: np.ndarray, labels: np.ndarray) -> losses.Loss:
    """Squared distance of the scores from 1 for the true class and 0 for the others, mean over the samples."""
    each = losses.l2(scores, np.eye(scores.shape[1], dtype=scores.dtype)[labels], reduction="none")
    return losses.reduce(each.value.sum(axis=1), each.grad, "mean")


LOSSES = {
    "softmax_cross_entropy": losses.softmax_cross_entropy,
    "multiclass_hinge": losses.multiclass_hinge,
    "l2": squares,
}

# Each with the learning rate that it usually starts from.
OPTIMIZERS: dict[str, tuple[Callable[..., optim.Optimizer], float]] = {
    "sgd": (optim.SGD, 0.1),
    "momentum": (partial(optim.SGD, momentum=0.9), 0.08),
    "nesterov": (partial(optim.SGD, momentum=0.9, nesterov=True), 0.08),
    "rmsprop": (optim.RMSprop, 1e-3),
    "adam": (optim.Adam, 1e-3),
    "adamw": (optim.AdamW, 1e-3),
}

# Of the number of all steps and of those in an epoch.
SCHEDULES: dict[str, Callable[[int, int], schedules.Schedule]] = {
    "constant": lambda steps, epoch: schedules.Linear(steps, end=1.0),
    "step": lambda steps, epoch: schedules.Step(10 * epoch),
    "multistep": lambda steps, epoch: schedules.MultiStep([max(steps // 2, 1), max(3 * steps // 4, 2)]),
    "exponential": lambda steps, epoch: schedules.Exponential(0.01 ** (1 / steps)),
    "linear": lambda steps, epoch: schedules.Linear(steps),
    "cosine": lambda steps, epoch: schedules.Cosine(steps),
}

NORMALIZERS: dict[str, Callable[[], data.Normalizer] | None] = {
    "none": None,
    "zscore": data.ZScore,
    "minmax": data.MinMax,
}
AUGMENTATIONS: dict[str, Callable[..., np.ndarray] | None] = {
    "none": None,
    "shift": data.shift,
    "flip": data.flip,
    "rotate": partial(data.rotate, degrees=10),
    "shift+flip": data.Compose(data.shift, data.flip),
    "shift+rotate": data.Compose(data.shift, partial(data.rotate, degrees=10)),
    "affine": partial(data.affine, degrees=10, pixels=0.5, scale=0.1, shear=0.1),
}

CHOICES: dict[str, Any] = {
    "normalize": NORMALIZERS,
    "augment": AUGMENTATIONS,
    "model": NETWORKS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}


def trainer(settings: Settings, image: tuple[int, int, int], classes: int, samples: int, comm: Any = None) -> Trainer:
    """A trainer for so many samples ``(C, H, W)`` in so many classes, on the ranks of `comm` if there are several."""
    rng = np.random.default_rng(settings.seed)
    model = NETWORKS[settings.model](image, classes, rng)
    make, _ = OPTIMIZERS[settings.optimizer]
    optimizer = make(model.parameters(), settings.lr, weight_decay=settings.weight_decay)
    epoch = math.ceil(samples / settings.batch_size)
    schedule = SCHEDULES[settings.schedule](settings.epochs * epoch, epoch)
    if settings.warmup:  # a fresh network's gradients are wild
        schedule = schedules.Product([schedules.WarmUp(max(settings.warmup * epoch - 1, 1)), schedule])
    return Trainer(
        model,
        optimizer,
        LOSSES[settings.loss],
        schedule=schedule,
        transform=AUGMENTATIONS[settings.augment],
        rng=rng,
        shards=settings.shards,
        comm=comm,
    )
