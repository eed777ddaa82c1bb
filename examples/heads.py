"""A softmax head against an SVM

A network has learned the digits 0 to 4. Without its head it turns 5 to 9, which it has never seen, into features, and
two linear heads learn to tell those apart. The softmax with cross-entropy is never content with a sample; the
multiclass hinge (SVM) asks for a margin of 1 and then leaves it alone. With hundreds of samples they are right equally
often; with few, the softmax does better here.

    python examples/heads.py [heads.png] [--quick]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import data, nn, optim

BLUE, RED, LIGHT = "#2166ac", "#b2182b", "#b8b8b8"
HEADS = {
    "softmax, cross-entropy": (BLUE, nn.losses.softmax_cross_entropy),
    "SVM, multiclass hinge": (RED, nn.losses.multiclass_hinge),
}
SIZES = (10, 20, 50, 100, 200, 400)  # labelled samples that the heads learn from


def backbone(rng):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, activation="relu", rng=rng),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, activation="relu", rng=rng),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )


def fit(model, loss_of, x, y, steps, rng, decay=0.0):
    """Train a model for so many steps, or an epoch more."""
    batches = data.minibatches(x, y, 32, rng=rng)
    epochs = -(-steps // len(batches))
    optimizer = optim.AdamW(model.parameters(), lr=5e-3, weight_decay=decay)
    schedule = optim.schedules.Cosine(epochs * len(batches)).drive(optimizer)
    for _ in range(epochs):
        for inputs, labels in batches:
            loss = loss_of(model(inputs), labels)
            optimizer.zero_grad()
            model.backward(loss.grad, need_input=False)
            optimizer.step()
            schedule.step()


def margins(scores, labels):
    """By how much each sample's true class scores above the best of the others."""
    true = scores[np.arange(len(labels)), labels]
    others = scores.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return true - others.max(axis=1)


def main(picture, quick):
    seeds, steps, sizes = (1, 20, SIZES[:3]) if quick else (5, 1000, SIZES)
    x, y, x_test, y_test = data.digits_split()
    rng = np.random.default_rng(0)
    body = backbone(rng)
    first = nn.Sequential(*body, nn.Linear(128, 5, init="glorot", rng=rng))
    fit(first, nn.losses.softmax_cross_entropy, x[y < 5], y[y < 5], steps, rng)
    features, labels = body(x[y >= 5]), y[y >= 5] - 5
    unseen, truth = body(x_test[y_test >= 5]), y_test[y_test >= 5] - 5
    figure = Figure(figsize=(13, 4.8), dpi=120, layout="constrained")
    course, *histograms = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    for ax, (name, (colour, loss_of)) in zip(histograms, HEADS.items(), strict=True):
        right = np.zeros((seeds, len(sizes)))
        for seed in range(seeds):
            for k, size in enumerate(sizes):
                chosen = np.random.default_rng(seed).choice(len(labels), size, replace=False)
                head = nn.Linear(128, 5, init="glorot", rng=seed)
                fit(head, loss_of, features[chosen], labels[chosen], steps, np.random.default_rng(seed), decay=0.01)
                right[seed, k] = 100 - 100 * nn.losses.zero_one(head(unseen), truth).value
        course.plot(sizes, right.T, color=colour, linewidth=0.7, alpha=0.5)
        course.plot(sizes, right.mean(axis=0), "o-", color=colour, linewidth=2.4, label=name)
        ax.hist(margins(head(features[chosen]), labels[chosen]), bins=np.arange(-2, 10.1, 0.5), color=colour)
        ax.axvline(0, color="#222222", linewidth=1)
        ax.axvline(1, color="#222222", linewidth=1, linestyle=":", label="the hinge's margin")
        ax.set_title(f"{name}: {size} margins", loc="left")
        ax.set(xlabel="score of the true class above the best other", ylabel="samples")
        ax.margins(y=0.2)  # the legend's room
        ax.legend(frameon=False, loc="upper right")
    course.set_title("held-out digits 5 to 9, by features learned on 0 to 4", loc="left", fontsize=11)
    course.set(xscale="log", xlabel=f"samples that the head learned from; thin: {seeds} seeds", ylabel="accuracy, %")
    course.set_xticks(sizes, labels=sizes)
    course.minorticks_off()
    course.legend(frameon=False, loc="lower right")
    for ax in (course, *histograms):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__, quick="one seed, two epochs")
