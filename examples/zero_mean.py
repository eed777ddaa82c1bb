"""Zero-mean inputs against the zig-zag

Where all inputs of a neuron are positive, a sample's gradients have one sign for all weights, that of its error:
samples push all weights up, or all down. Weights of which one has to rise and the other to fall get there by zig-zag.
With inputs centred around zero each weight goes its own way, the valley is round, and its best rate leads straight
down.

    python examples/zero_mean.py [zero_mean.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import linear, linear_backward, nn, optim

RED, BLUE, FAINT = "#b2182b", "#2166ac", "#666666"
START, GOAL, STEPS = (0.0, 0.0), np.array([[1.2, -0.8]]), 10


def gradient(x, weight):
    """Of the mean squared error of samples ``(N, 2)`` whose true answers are those of the weights GOAL."""
    loss = nn.losses.l2(linear(x, weight), linear(x, GOAL))
    return linear_backward(loss.grad, x, weight, need="weight").weight


def descend(x, rate):
    """Weights ``(STEPS + 1, 2)`` of gradient descent on all samples."""
    weight = nn.Parameter(np.array([START]))
    optimizer, path = optim.SGD([weight], lr=rate), [START]
    for _ in range(STEPS):
        weight.grad = gradient(x, weight.data)
        optimizer.step()
        path.append(tuple(weight.data[0]))
    return np.array(path)


def draw_way(ax, x, colour):
    """The way to the goal, over the contours of the loss."""
    rate = 1 / np.mean(np.sum(x * x, axis=1))  # 2 / (sum of the curvatures): no rate shrinks the error faster
    path = descend(x, rate)
    w = np.stack(np.meshgrid(np.linspace(-0.5, 1.7, 121), np.linspace(-1.4, 0.6, 121)), axis=-1)
    loss = np.mean(linear(w - GOAL[0], x) ** 2, axis=-1)
    ax.contour(
        *np.moveaxis(w, -1, 0), loss, levels=np.array([0.002, 0.02, 0.08, 0.2, 0.4, 0.7, 1.1, 1.6]) * loss.max() / 2
    )
    ax.collections[0].set(edgecolors="#c8c8c8", linewidths=0.9)
    ax.plot(*path.T, "o-", color=colour, markersize=5, linewidth=1.4)
    ax.plot(*START, "o", color=colour, markersize=11, fillstyle="none")
    ax.plot(*GOAL[0], "+", color="black", markersize=13, markeredgewidth=2)
    left = np.linalg.norm(path - GOAL[0], axis=1)
    words = f"rate {rate:.2g}: {left[0]:.2f} from the best, {left[2]:.2f} after 2 steps"
    ax.set_title(words, loc="left", fontsize=11)
    ax.set(xlabel="first weight", ylabel="second weight")


def draw(figure, x, colour, title):
    """Inputs, where single samples push the weights, and where all of them together lead."""
    inputs, pushes, way = figure.subplots(1, 3, width_ratios=(1, 1, 1.45))
    figure.suptitle(title, x=0.008, ha="left", weight="bold", fontsize=13)
    inputs.plot(*x.T, "o", color=colour, markersize=3)
    inputs.set_title("inputs", loc="left", fontsize=11)
    inputs.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xlabel="first input", ylabel="second input")
    steps = np.array([-gradient(sample, np.array([START]))[0] for sample in x[:60, np.newaxis]])
    pushes.quiver(*np.zeros((2, 60)), *steps.T, color=colour, angles="xy", scale_units="xy", scale=1, width=0.006)
    reach = 2.1  # of both, to compare the arrows
    pushes.set_title("where 60 samples push the weights", loc="left", fontsize=11)
    pushes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="first weight", ylabel="second weight")
    draw_way(way, x, colour)
    for ax in (inputs, pushes, way):
        ax.set_aspect("equal")
        ax.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
        ax.axvline(0, color=FAINT, linewidth=0.6, zorder=0)


def main(picture):
    figure = Figure(figsize=(13, 8.4), dpi=120, layout="constrained")
    above, below = figure.subfigures(2, 1)
    x = np.random.default_rng(0).uniform(0, 1, (300, 2))
    draw(above, x, RED, "Inputs between 0 and 1")
    draw(below, x - x.mean(axis=0), BLUE, "The same inputs less their mean")
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
