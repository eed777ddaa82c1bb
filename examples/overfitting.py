"""Over-fitting, and what dropout and weight decay do about it

Three hundred digits, a quarter of them with a random label, are few enough to be learned by heart: the training loss
goes to zero and the loss on digits not seen rises. Weight decay keeps weights small, dropout keeps units from relying
on each other, and wrong labels are no longer worth the effort.

    python examples/overfitting.py [overfitting.png] [--quick]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import data, nn, optim

RED, BLUE = "#b2182b", "#2166ac"
KINDS = {  # share dropped, and decoupled weight decay
    "neither": (0.0, 0.0),
    "weight decay 1": (0.0, 1.0),
    "dropout 0.5": (0.5, 0.0),
    "both": (0.5, 1.0),
}


def network(drop, rng):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128, activation="relu", rng=rng),
        nn.Dropout(drop, rng=rng),
        nn.Linear(128, 128, activation="relu", rng=rng),
        nn.Dropout(drop, rng=rng),
        nn.Linear(128, 10, init="glorot", rng=rng),
    )


def train(drop, decay, seed, epochs):
    """``(epochs, 4)``: losses and accuracies in per cent, on 300 training digits and on all held-out ones."""
    rng = np.random.default_rng(seed)
    x_all, y_all, x_test, y_test = data.digits_split()
    chosen = rng.choice(len(x_all), 300, replace=False)
    x, y = x_all[chosen], y_all[chosen]
    y[:75] = rng.integers(0, 10, 75)
    model, history = network(drop, rng), []
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=decay)
    for _ in range(epochs):
        for inputs, labels in data.minibatches(x, y, 30, rng=rng):
            loss = nn.losses.softmax_cross_entropy(model.train()(inputs), labels)
            optimizer.zero_grad()
            model.backward(loss.grad, need_input=False)
            optimizer.step()
        model.eval()
        seen, unseen = model(x), model(x_test)
        losses = [nn.losses.softmax_cross_entropy(*pair).value for pair in ((seen, y), (unseen, y_test))]
        right = [100 - 100 * nn.losses.zero_one(*pair).value for pair in ((seen, y), (unseen, y_test))]
        history.append(losses + right)
    return history


def main(picture, quick):
    seeds, epochs = (1, 5) if quick else (5, 80)
    figure = Figure(figsize=(13, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots(1, 4, sharey=True)
    for ax, (name, (drop, decay)) in zip(axes, KINDS.items(), strict=True):
        runs = np.array([train(drop, decay, seed, epochs) for seed in range(seeds)])
        for k, (colour, which) in enumerate(((RED, "300 training digits"), (BLUE, "359 held-out digits"))):
            x = np.arange(1, epochs + 1)
            ax.plot(x, runs[..., k].T, color=colour, linewidth=0.7, alpha=0.5)
            ax.plot(x, runs[..., k].mean(axis=0), color=colour, linewidth=2.4, label=which)
        right = runs[:, -1, 3]
        spread = f" ± {right.std(ddof=1):.1f}" if seeds > 1 else ""
        ax.set_title(f"{name}: {right.mean():.1f}{spread} % right", loc="left")
        ax.set(xlim=(1, epochs), ylim=(0, 2.5), xlabel="epoch")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("cross-entropy")
    axes[0].legend(frameon=False)
    title = f"Cross-entropy, and held-out digits right after {epochs} epochs, mean ± deviation of {seeds} seeds; "
    title += "a quarter of the training labels are random"
    figure.suptitle(title, x=0.005, ha="left", fontsize=11)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__, quick="one seed, five epochs")
