"""Shadow weights: the average of many steps beats the last of them

With noisy gradients the weights do not come to rest, they wander about the minimum as far as the rate and the noise
carry them. Their exponential moving average lies closer to it. It costs a copy of the weights and never touches
training.

    python examples/ema.py [ema.png] [--quick]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import data, nn, optim

LIGHT, GREY, BLUE = "#b8b8b8", "#666666", "#2166ac"


def wander(steps, rate=0.1, decay=0.97):
    """Positions on x^2 + 4 y^2, with noise in the gradient, and those of their average."""
    rng = np.random.default_rng(3)
    point = nn.Linear(2, 1, bias=False, dtype="float64")  # a model of two weights, its input never used
    point.weight.data[:] = -3.2, 2.2
    optimizer, ema = optim.SGD(point.parameters(), lr=rate), optim.EMA(point, decay=decay)
    raw, averaged = [point.weight.data[0].copy()], [point.weight.data[0].copy()]
    for _ in range(steps):
        point.weight.grad = point.weight.data * (2, 8) + rng.normal(0, 6, (1, 2))
        optimizer.step()
        ema.update()
        raw.append(point.weight.data[0].copy())
        averaged.append(ema.shadow["weight"][0].copy())
    return np.array(raw), np.array(averaged)


def train(seed, epochs):
    """``(epochs, 2)``: held-out accuracy in per cent of weights and average; a fifth of the labels is random."""
    rng = np.random.default_rng(seed)
    x, y, x_test, y_test = data.digits_split()
    y = np.where(rng.random(len(y)) < 0.2, rng.integers(0, 10, len(y)), y)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, activation="relu", rng=rng),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(192, 10, init="glorot", rng=rng),
    )
    optimizer, ema = optim.SGD(model.parameters(), lr=0.03, momentum=0.9), optim.EMA(model, decay=0.99)
    history = []
    for _ in range(epochs):
        for inputs, labels in data.minibatches(x, y, 16, rng=rng):
            loss = nn.losses.softmax_cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            model.backward(loss.grad, need_input=False)
            optimizer.step()
            ema.update()
        own = accuracy(model, x_test, y_test)
        with ema.swapped():
            history.append((own, accuracy(model, x_test, y_test)))
    return history


def accuracy(model, x, y):
    return 100 - 100 * nn.losses.zero_one(model(x), y).value


def main(picture, quick):
    figure = Figure(figsize=(13, 5.2), dpi=120, layout="constrained")
    plane, course = figure.subplots(1, 2)
    raw, averaged = wander(250)
    x, y = np.meshgrid(np.linspace(-4, 4, 121), np.linspace(-3, 3, 121))
    plane.contour(x, y, x**2 + 4 * y**2, levels=(0.2, 1, 3, 7, 13, 21), colors="#dddddd", linewidths=1)
    plane.plot(*raw.T, "o-", color=LIGHT, markersize=2.5, linewidth=0.6, label="weights")
    plane.plot(*averaged.T, color=BLUE, linewidth=2, label="their average, decay 0.97")
    plane.plot(0, 0, "+", color="black", markersize=13, markeredgewidth=2)
    plane.set_title("$x^2 + 4y^2$ with noisy gradients, 250 steps", loc="left")
    plane.set(xlim=(-4, 4), ylim=(-3, 3), xticks=[], yticks=[])
    plane.legend(frameon=False, loc="upper right")
    epochs = np.arange(1, 4 if quick else 21)
    runs = np.array([train(seed, len(epochs)) for seed in range(1 if quick else 3)])  # (seeds, epochs, 2)
    for k, (colour, name) in enumerate(((GREY, "weights"), (BLUE, "their average, decay 0.99"))):
        course.plot(epochs, runs[..., k].T, color=colour, linewidth=0.8, alpha=0.6)
        label = f"{name}: {runs[:, len(epochs) // 2 :, k].mean():.1f} % in the second half"
        course.plot(epochs, runs[..., k].mean(axis=0), color=colour, linewidth=2.5, label=label)
    course.set_title("digits, a fifth of the training labels random: held-out accuracy", loc="left")
    course.set(
        xlabel=f"epoch; thin: {len(runs)} seeds, thick: their mean",
        ylabel="accuracy, %",
        xlim=(1, len(epochs)),
        xticks=epochs,
    )
    course.legend(frameon=False, loc="lower right")
    course.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__, quick="one seed, three epochs")
