"""Sigmoid: squared error forgives what is badly wrong, cross-entropy does not

Through a sigmoid the gradient of the squared error holds the sigmoid's own slope, which vanishes where it is certain,
and wrongly certain too. In that of cross-entropy the slope cancels: what is left is the error. A neuron that starts on
the wrong side shows what that means.

    python examples/sigmoid_losses.py [sigmoid_losses.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import nn, optim

RED, BLUE, FAINT = "#b2182b", "#2166ac", "#666666"
STARTS = {0.6: ":", 2.0: "--", 4.0: "-"}  # scores that a neuron starts from, and how its line is drawn
STEPS, RATE = 300, 0.15


def squared(scores):
    """Squared error of sigmoid(scores) against 0: value and gradient, with respect to the scores, of each."""
    sigmoid = nn.Sigmoid()
    loss = nn.losses.l2(sigmoid(scores), np.zeros_like(scores), reduction="none")
    return loss.value, sigmoid.backward(loss.grad)


def entropy(scores):
    """Cross-entropy of sigmoid(scores) against 0, the same way."""
    return nn.losses.binary_cross_entropy_with_logits(scores, np.zeros_like(scores), reduction="none")


def learn(loss, start):
    """What one neuron with input 1 answers, step by step; its score is weight + bias, and the answer should be 0."""
    weight, bias = nn.Parameter(np.array([start / 2])), nn.Parameter(np.array([start / 2]))
    optimizer, answers = optim.SGD([weight, bias], lr=RATE), []
    for _ in range(STEPS + 1):
        score = weight.data + bias.data
        answers.append(nn.Sigmoid()(score)[0])
        _, gradient = loss(score)
        weight.grad, bias.grad = gradient.copy(), gradient.copy()
        optimizer.step()
    return answers


def main(picture):
    figure = Figure(figsize=(12, 7.4), dpi=120, layout="constrained")
    axes = figure.subplots(2, 2)
    scores = np.linspace(-8, 8, 401)
    for loss, colour, name in ((squared, RED, "squared error"), (entropy, BLUE, "cross-entropy")):
        value, gradient = loss(scores)
        axes[0, 0].plot(scores, value, color=colour, linewidth=2.2, label=name)
        axes[0, 1].plot(scores, gradient, color=colour, linewidth=2.2, label=name)
    axes[0, 0].set_title("loss of a score, where the answer should be 0", loc="left")
    axes[0, 0].set_ylim(-0.1, 4)
    axes[0, 1].set_title("its gradient: what the score learns by", loc="left")
    axes[0, 1].set_ylim(-0.03, 1.1)
    for ax in axes[0]:
        ax.set(xlabel="score before the sigmoid; the larger, the more wrong", xlim=(-8, 8))
        ax.legend(frameon=False, loc="upper left")
    for ax, loss, colour, name in (
        (axes[1, 0], squared, RED, "squared error: the more wrong, the later it learns"),
        (axes[1, 1], entropy, BLUE, "cross-entropy: learns at once"),
    ):
        for start, style in STARTS.items():
            answers = learn(loss, start)
            ax.plot(answers, style, color=colour, linewidth=2.2, label=f"starts from {answers[0]:.3f}")
        ax.set_title(name, loc="left")
        ax.set(xlabel=f"step of gradient descent, rate {RATE}", ylabel="answer", xlim=(0, STEPS), ylim=(0, 1.03))
        ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
