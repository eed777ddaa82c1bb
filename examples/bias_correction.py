"""A moving average starts too low, unless it is corrected

Momentum as a moving average, v = 0.9 v + 0.1 g, starts from v = 0 and so from a tenth of the first gradient. Its
weights have added up to 1 - 0.9^t after t steps; divided by that, it is a true average from the first step on.

    python examples/bias_correction.py [bias_correction.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import nn, optim

RED, BLUE, FAINT, LIGHT = "#b2182b", "#2166ac", "#666666", "#b8b8b8"
STEPS, BETA = 60, 0.9


def averages(gradients, **options):
    """What the optimizer goes by at each step: with a rate of 1 it is how far the parameter moves."""
    x = nn.Parameter(np.zeros(1))
    optimizer = optim.SGD([x], lr=1.0, momentum=BETA, form="ewma", **options)
    moves = []
    for gradient in gradients:
        before, x.grad = x.data.copy(), np.array([gradient])
        optimizer.step()
        moves.append((before - x.data)[0])
    return np.array(moves)


def descend(**options):
    """Distance from the minimum of x^2 at 0, from 10, step by step."""
    x = nn.Parameter(np.array([10.0]))
    optimizer = optim.SGD([x], lr=0.02, momentum=BETA, form="ewma", **options)
    path = [10.0]
    for _ in range(STEPS // 2):
        x.grad = 2 * x.data
        optimizer.step()
        path.append(x.data[0])
    return path


def main(picture):
    steps = np.arange(1, STEPS + 1)
    truth = 2 + np.sin(steps / 9)
    gradients = truth + np.random.default_rng(0).normal(0, 0.5, STEPS)
    figure = Figure(figsize=(12, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1.7, 1, 1))
    axes[0].plot(steps, gradients, "o", color=LIGHT, markersize=4, label="gradients, noisy")
    axes[0].plot(steps, truth, ":", color=FAINT, linewidth=1.8, label="without the noise")
    axes[0].plot(steps, averages(gradients, bias_correction=False), color=RED, linewidth=2.2, label="average")
    axes[0].plot(steps, averages(gradients), color=BLUE, linewidth=2.2, label="average, corrected")
    axes[0].set_title("a moving average of gradients, beta = 0.9", loc="left")
    axes[0].set(xlabel="step", ylim=(0, 4.1), xlim=(0, STEPS))
    axes[0].legend(frameon=False, loc="upper right", ncols=2)
    axes[1].plot(steps, 1 - BETA**steps, color=RED, linewidth=2.2)
    axes[1].axhline(1, color=BLUE, linewidth=2.2)
    axes[1].set_title("sum of the average's weights", loc="left")
    axes[1].text(STEPS, 0.97, "1: corrected", color=BLUE, ha="right", va="top")
    axes[1].text(13, 0.66, "$1 - 0.9^t$", color=RED, fontsize=12)
    axes[1].set(xlabel="step t", ylim=(0, 1.05), xlim=(0, STEPS))
    axes[2].plot(descend(bias_correction=False), color=RED, linewidth=2.2, label="average")
    axes[2].plot(descend(), color=BLUE, linewidth=2.2, label="corrected")
    axes[2].set_title("descent on $x^2$, rate 0.02", loc="left")
    axes[2].legend(frameon=False)
    axes[2].set(xlabel="step", ylabel="x", xlim=(0, STEPS // 2), ylim=(0, 10.5))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
