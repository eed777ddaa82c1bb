"""Losses as curves

The 0-1 loss is what one wants to be small, but it is flat: no gradient says where to go. Training takes a loss that has
a slope wherever something is to be improved, and losses differ in what they still call wrong: the perceptron nothing
that has the right sign, the hinge what is not right by a margin, cross-entropy everything, a little. For numbers the
question is how much an outlier may pull.

    python examples/losses.py [losses.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit.nn import losses

RED, ORANGE, BLUE, GREEN, GREY = "#b2182b", "#d9780f", "#2166ac", "#1b7837", "#666666"
SCORES = np.linspace(-3, 3, 1201)
ERRORS = np.linspace(-3, 3, 1201)


def of_scores():
    """(name, colour, line style, loss) of a sample of the positive class, by its score."""
    positive = np.ones_like(SCORES)
    scores_of_two = np.stack([np.zeros_like(SCORES), SCORES], axis=1)  # of the negative class, which has 0, and ours
    zero_one = losses.zero_one(scores_of_two, np.ones(len(SCORES), np.int64), reduction="none")
    yield "0-1", GREY, ":", losses.Loss(zero_one.value, zero_one.grad[:, 1])
    yield "perceptron", GREEN, "-", losses.perceptron(SCORES, positive, reduction="none")
    yield "hinge", BLUE, "--", losses.binary_hinge(SCORES, positive, reduction="none")
    entropy = losses.binary_cross_entropy_with_logits(SCORES, positive, reduction="none")
    yield "logistic (cross-entropy)", RED, "-", entropy
    yield "focal, gamma 2", ORANGE, "-", losses.focal(SCORES, positive, alpha=None, reduction="none")


def of_errors():
    """(name, colour, line style, loss) of a predicted number, by its distance from the true one."""
    truth = np.zeros_like(ERRORS)
    yield "L2: $d^2$", RED, "-", losses.l2(ERRORS, truth, reduction="none")
    yield "L1: $|d|$", BLUE, "-", losses.l1(ERRORS, truth, reduction="none")
    yield "Huber, delta 1", GREEN, "-", losses.huber(ERRORS, truth, reduction="none")
    yield "smooth L1, beta 0.3", ORANGE, "--", losses.smooth_l1(ERRORS, truth, beta=0.3, reduction="none")


def draw(row, x, curves, label, titles, places):
    """Values on the left, gradients on the right, each with its legend."""
    for name, colour, style, loss in curves:
        row[0].plot(x, loss.value, style, color=colour, linewidth=2, label=name)
        jumps = np.flatnonzero(np.abs(np.diff(loss.grad)) > 0.5)  # a line across a jump would look like a slope
        gradient = np.insert(loss.grad, jumps + 1, np.nan)
        row[1].plot(np.insert(x, jumps + 1, np.nan), gradient, style, color=colour, linewidth=2, label=name)
    for ax, title, what in zip(row, titles, ("loss", "gradient"), strict=True):
        ax.set_title(title, loc="left", fontsize=12)
        ax.set(xlabel=label, ylabel=what, xlim=(x[0], x[-1]))
        ax.axhline(0, color="#c8c8c8", linewidth=0.8, zorder=0)
        ax.axvline(0, color="#c8c8c8", linewidth=0.8, zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(facecolor="white", framealpha=1, edgecolor="white", fontsize=10.5, loc=places[what])


def main(picture):
    figure = Figure(figsize=(11, 8), dpi=120, layout="constrained")
    rows = figure.subplots(2, 2)
    titles = ("Two classes: loss of a positive sample", "its gradient: below 0 it pushes the score up")
    places = {"loss": "upper right", "gradient": "lower right"}
    draw(rows[0], SCORES, of_scores(), "score; the true class wants it large", titles, places)
    titles = ("Numbers: loss of a prediction", "its gradient: how hard an error pulls")
    places = {"loss": "upper center", "gradient": "upper left"}
    draw(rows[1], ERRORS, of_errors(), "d = prediction - target", titles, places)
    rows[0, 0].set_ylim(-0.1, 4.2)
    rows[0, 1].set_ylim(-1.8, 0.2)  # with room for the legend
    rows[1, 0].set_ylim(-0.1, 4.2)
    rows[1, 1].set_ylim(-3, 3)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
