"""The pictures that `convkit demo` draws. matplotlib is loaded by the first; no window and no global state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import _extras
from .._files import save_picture
from .._words import dimensions, percent
from ..train.history import BLUE, ORANGE, log_axis

DPI = 130


def _figure(width: float, height: float, layout: str | None = "constrained"):
    """A figure of so many inches, drawn without a display."""
    return _extras.need("matplotlib.figure", "train").Figure(figsize=(width, height), layout=layout)


def _grid(part, n: int, columns: int, **spacing: float) -> list:
    """Axes for `n` small images under each other in `columns`, without ticks; surplus ones are not shown."""
    axes = part.subplots(math.ceil(n / columns), columns, squeeze=False, gridspec_kw=spacing).ravel()
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="lightgrey", linewidth=0.6)
    for ax in axes[n:]:
        ax.set_visible(False)
    return list(axes[:n])


def curves(
    path: Path, losses: Sequence[float], accuracies: Sequence[float], test_accuracy: float, held_out: int
) -> None:
    """Draw loss and accuracy against the epoch, and the one measurement on the held-out images."""
    figure = _figure(9.5, 4)
    left, right = figure.subplots(1, 2)
    epochs = np.arange(1, len(losses) + 1)
    mark = "o" if len(losses) == 1 else None  # a line through one point would not be seen
    left.plot(epochs, losses, color=BLUE, marker=mark)
    log_axis(left)
    left.set(title="Loss of the training images", xlabel="epoch", ylabel="mean cross-entropy (log scale)")
    label = "training images, randomly moved, while it learns"
    right.plot(epochs, 100 * np.asarray(accuracies), color=BLUE, marker=mark, label=label)
    label = f"{held_out} held-out images, after the last epoch: {percent(test_accuracy, 1)}"
    right.plot(epochs[-1], 100 * test_accuracy, "D", color=ORANGE, markersize=7, label=label, clip_on=False, zorder=3)
    # The last percents are the interesting ones: a good run's first epochs may come in from below the frame.
    lowest = 80 if min(accuracies[-1], test_accuracy) > 0.9 else 0
    right.set(title="Accuracy", xlabel="epoch", ylabel="images read right, %")
    right.set(yticks=range(lowest, 101, 5 if lowest else 20), ylim=(lowest, 100.4 if lowest else 102))
    right.legend(loc="best", frameon=False, fontsize="small")
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlim(0, len(losses) + 1)
        ax.xaxis.get_major_locator().set_params(integer=True)
    save_picture(figure, path, DPI)


def filters(path: Path, kernels: np.ndarray, image: np.ndarray, responses: np.ndarray) -> None:
    """Draw the first layer's kernels ``(n, k, k)``, an image ``(H, W)``, and the answers to it ``(n, H, W)``.

    The strongest answers come first.
    """
    order = np.argsort(-responses.sum(axis=(1, 2)), kind="stable")
    kernels, responses = kernels[order], responses[order]
    columns = 8
    figure = _figure(11.5, 1.6 + 0.54 * math.ceil(len(kernels) / columns))
    figure.suptitle("The first layer: what it looks for, and where it finds it")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(4, 2, 4), wspace=0.03)
    bound, brightest = float(np.abs(kernels).max()), float(responses.max())
    label = f"weight of the {len(kernels)} learned kernels, {dimensions(kernels.shape[1:])}"
    _tiles(left, kernels, columns, label, "RdBu_r", -bound, bound)
    ax = _grid(middle, 1, 1)[0]
    ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    ax.set_title("a held-out digit", fontsize="medium")
    _tiles(right, responses, columns, "their answers to it, after ReLU", "magma", 0, brightest)
    save_picture(figure, path, DPI)


def _tiles(part, tiles: np.ndarray, columns: int, label: str, colours: str, lo: float, hi: float) -> None:
    """Draw images ``(n, H, W)`` side by side on one colour scale, shown below."""
    axes = _grid(part, len(tiles), columns)
    for ax, tile in zip(axes, tiles, strict=True):
        drawn = ax.imshow(tile, cmap=colours, vmin=lo, vmax=hi)
    part.colorbar(drawn, ax=axes, location="bottom", shrink=0.7, aspect=30, label=label)


def _columns(n: int) -> int:
    """Columns for n images: one row of up to 6, else rows that leave the fewest places of the last one empty."""
    return max(n, 1) if n <= 6 else min(range(4, 9) if n <= 40 else range(10, 15), key=lambda columns: -n % columns)


def mistakes(
    path: Path, images: np.ndarray, true: np.ndarray, guessed: np.ndarray, certainties: np.ndarray, held_out: int
) -> None:
    """Draw every held-out image ``(n, H, W)`` that was misread, with its true and its guessed label."""
    n = len(images)
    columns = _columns(n)
    rows = math.ceil(n / columns)
    width, height = max(1.6 * columns, 4), 2 * rows + 0.4 if n else 1
    # Placed by hand: "constrained" takes seconds over the hundreds of mistakes of a network that has not learned yet.
    figure = _figure(width, height, layout=None)
    heading = f"{n} of {held_out} held-out digits misread" if n else f"All {held_out} held-out digits read right"
    figure.suptitle(heading, y=1 - 0.2 / height, va="center")
    side = 0.5 - 0.77 * columns / width  # the images stand in the middle
    edges = {"left": side, "right": 1 - side, "bottom": 0.45 / height, "top": 1 - 0.7 / height}
    axes = _grid(figure, n, columns, wspace=0.08, hspace=0.55, **edges) if n else []
    for ax, image, label, guess, certainty in zip(axes, images, true, guessed, certainties, strict=True):
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        ax.set_title(f"true: {label}", fontsize="medium", pad=3)
        ax.set_xlabel(f"guessed: {guess}\n({percent(certainty)} sure)", fontsize="small", color=ORANGE)
    save_picture(figure, path, DPI)
