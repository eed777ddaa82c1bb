"""Losses, optimizers and schedules that have a twin in PyTorch or torchvision: one list for vectors and live peers."""

from dataclasses import dataclass, field

import numpy as np

from convkit import nn, optim
from convkit.optim import schedules


@dataclass(frozen=True)
class LossCase:
    """A loss, the shape of the outputs, what kind of thing is known of the samples, and the loss's options."""

    name: str
    loss: str
    shape: tuple[int, ...]
    known: str  # "classes", "signs", "shares", "bits" or "numbers"
    options: dict = field(default_factory=dict)
    weighted: bool = False

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Outputs x, what is known t and, for weighted classes, their weights."""
        x = 3 * rng.standard_normal(self.shape)
        if self.loss == "negative_log_likelihood":
            x = -np.abs(x)
        arrays = {"x": x, "t": self._known(rng)}
        return arrays | {"weights": rng.uniform(0.2, 2, self.shape[1])} if self.weighted else arrays

    def _known(self, rng: np.random.Generator) -> np.ndarray:
        if self.known == "classes":
            labels = rng.integers(0, self.shape[1], (self.shape[0], *self.shape[2:]))
            labels.flat[::3] = self.options.get("ignore_index", labels.flat[::3])
            return labels
        if self.known == "numbers":
            return 3 * rng.standard_normal(self.shape)
        shares = rng.random(self.shape)
        return shares if self.known == "shares" else (shares > 0.5).astype(float)


ALL = {"label_smoothing": 0.2, "ignore_index": -100}
LOSSES = (
    LossCase("cross_entropy", "softmax_cross_entropy", (6, 5), "classes"),
    LossCase("cross_entropy_pixels", "softmax_cross_entropy", (2, 4, 3, 2), "classes"),
    LossCase("cross_entropy_weighted", "softmax_cross_entropy", (6, 5), "classes", weighted=True),
    LossCase("cross_entropy_smooth", "softmax_cross_entropy", (6, 5), "classes", {"label_smoothing": 0.1}),
    LossCase("cross_entropy_ignore", "softmax_cross_entropy", (6, 5), "classes", {"ignore_index": 2}),
    LossCase("cross_entropy_all", "softmax_cross_entropy", (3, 4, 5), "classes", ALL, weighted=True),
    LossCase("nll", "negative_log_likelihood", (6, 5), "classes"),
    LossCase("nll_all", "negative_log_likelihood", (2, 4, 3), "classes", {"ignore_index": -1}, weighted=True),
    LossCase("binary_cross_entropy", "binary_cross_entropy_with_logits", (4, 3), "shares"),
    LossCase("binary_cross_entropy_weighted", "binary_cross_entropy_with_logits", (9,), "shares", {"pos_weight": 2.5}),
    LossCase("focal", "focal", (4, 3), "bits"),
    LossCase("focal_sharp", "focal", (9,), "bits", {"gamma": 0.5, "alpha": None}),
    LossCase("focal_flat", "focal", (9,), "bits", {"gamma": 0, "alpha": 0.75}),
    LossCase("multiclass_hinge", "multiclass_hinge", (6, 5), "classes"),
    LossCase("multiclass_hinge_wide", "multiclass_hinge", (6, 5), "classes", {"margin": 2.5}),
    LossCase("l1", "l1", (4, 3), "numbers"),
    LossCase("l2", "l2", (4, 3), "numbers"),
    LossCase("huber", "huber", (4, 3), "numbers"),
    LossCase("huber_wide", "huber", (4, 3), "numbers", {"delta": 2.5}),
    LossCase("smooth_l1", "smooth_l1", (4, 3), "numbers"),
    LossCase("smooth_l1_wide", "smooth_l1", (4, 3), "numbers", {"beta": 2.5}),
)
REDUCTIONS = ("mean", "sum", "none")

# name: (optimizer, its options), named alike on both sides
OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd_decay": ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "momentum_decay": ("SGD", {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.05}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop_momentum": ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "momentum": 0.9, "weight_decay": 0.05}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam_decay": ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05}),
    "adamw": ("AdamW", {"lr": 0.01}),
    "adamw_decay": ("AdamW", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.5}),
}
RATE_SHARES = (1.0, 1.0, 0.5, 0.5, 0.2, 0.2)  # of the optimizer's lr, one for each step


def draw_descent(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Where the parameter starts, and its gradient at each step."""
    return {"start": rng.standard_normal((3, 5)), "grads": rng.standard_normal((len(RATE_SHARES), 3, 5))}


RATE, HORIZON = 0.4, 25  # the starting rate; how far schedules are followed
SCHEDULES = {
    "step": schedules.Step(10, lr=RATE),
    "multistep": schedules.MultiStep([4, 9, 15], 0.3, lr=RATE),
    "exponential": schedules.Exponential(0.9, lr=RATE),
    "linear": schedules.Linear(12, end=0.1, lr=RATE),
    "cosine": schedules.Cosine(HORIZON - 1, end=0.1, lr=RATE),
    "warm_up": schedules.WarmUp(8, 0.2, lr=RATE),
    "sequence": schedules.Sequence([schedules.WarmUp(8, 0.2), schedules.Exponential(0.9)], [8], lr=RATE),
    "product": schedules.Product([schedules.WarmUp(8, 0.2), schedules.Step(10)], lr=RATE),
}


def lose(case: LossCase, x: np.ndarray, t: np.ndarray, weights: np.ndarray | None = None, **options) -> nn.losses.Loss:
    """convkit's answer to a case."""
    if weights is not None:
        options["class_weights"] = weights
    return getattr(nn.losses, case.loss)(x, t, **case.options, **options)


def descend(name: str, start: np.ndarray, grads: np.ndarray) -> np.ndarray:
    """The parameter after each step, by convkit."""
    kind, options = OPTIMIZERS[name]
    parameter = nn.Parameter(start.copy())
    optimizer = getattr(optim, kind)([parameter], **options)
    path = []
    for share, grad in zip(RATE_SHARES, grads, strict=True):
        optimizer.lr, parameter.grad = share * options["lr"], grad
        optimizer.step()
        path.append(parameter.data.copy())
    return np.array(path)
