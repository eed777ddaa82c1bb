"""Batch size: one sample, a few, or all

The gradient of a batch is an estimate of that of all samples. One sample is cheap and noisy, all are exact and give one
step an epoch; in between lies what is used. The same optimizer does all three: only what it is fed differs.

    python examples/batch_size.py [batch_size.png] [--quick]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import data, linear, linear_backward, nn, optim

RED, BLUE, GREEN = "#b2182b", "#2166ac", "#1b7837"
BATCHES = {"one sample": (1, RED), "mini-batch of 32": (32, BLUE), "all samples": (None, GREEN)}
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def line_fit(size, epochs=8, rate=0.1):
    """Slope and offset of a straight line, step by step, fitted to 128 noisy points."""
    x, y = points()
    weight, bias = nn.Parameter(np.array([[-1.2]])), nn.Parameter(np.array([-1.2]))
    optimizer, path = optim.SGD([weight, bias], lr=rate), [(-1.2, -1.2)]
    batches = data.minibatches(x, y, size or len(x), rng=0)
    for _ in range(epochs):
        for inputs, targets in batches:
            loss = nn.losses.l2(linear(inputs, weight.data, bias.data), targets)
            grads = linear_backward(loss.grad, inputs, weight.data, need=("weight", "bias"))
            weight.grad, bias.grad = grads.weight, grads.bias
            optimizer.step()
            path.append((weight.data[0, 0], bias.data[0]))
    return np.array(path)


def points():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (128, 1))
    return x, x + 0.5 + rng.normal(0, 1, x.shape)


def learn(size, rate, epochs, split):
    """Training loss after each epoch on the digits, the start included."""
    rng = np.random.default_rng(0)
    hidden = nn.Linear(64, 48, activation="relu", rng=rng)
    model = nn.Sequential(nn.Flatten(), hidden, nn.Linear(48, 10, init="glorot", rng=rng))
    optimizer = optim.SGD(model.parameters(), lr=rate)
    losses = [cost(model, split)]
    for _ in range(epochs):
        for x, y in data.minibatches(split.x_train, split.y_train, size or len(split.x_train), rng=rng):
            loss = nn.losses.softmax_cross_entropy(model(x), y)
            optimizer.zero_grad()
            model.backward(loss.grad, need_input=False)
            optimizer.step()
        losses.append(cost(model, split))
    return losses


def cost(model, split):
    return nn.losses.softmax_cross_entropy(model(split.x_train), split.y_train).value


def draw_way(ax, name, size, colour):
    """The way of slope and offset over the contours of the cost of all points."""
    x, y = points()
    w, b = np.meshgrid(np.linspace(-1.6, 2.2, 81), np.linspace(-2, 1.6, 91))
    values = np.mean((w[..., np.newaxis] * x[:, 0] + b[..., np.newaxis] - y[:, 0]) ** 2, axis=-1)
    ax.contour(w, b, values, levels=values.min() + np.array([0.03, 0.2, 0.6, 1.4, 2.6, 4.2, 6.2, 9]), colors="#d0d0d0")
    path = line_fit(size)
    ax.plot(*path.T, "o-", color=colour, markersize=2 if len(path) > 100 else 5, linewidth=0.5)
    ax.plot(*path[0], "o", color=colour, markersize=11, fillstyle="none")
    ax.set_title(f"{name}: {len(path) - 1} steps in 8 epochs", loc="left")
    ax.set(xlabel="slope", ylabel="offset", xlim=(-1.6, 2.2), ylim=(-2, 1.6))


def main(picture, quick):
    split, epochs = data.digits_split(), 2 if quick else 12
    rates = RATES[3:4] if quick else RATES
    figure = Figure(figsize=(13, 8), dpi=120, layout="constrained")
    above, below = figure.subfigures(2, 1)
    above.suptitle("a straight line through 128 points, rate 0.1", x=0.005, ha="left", weight="bold")
    below.suptitle("1438 digits, each batch size at the best of the rates 0.01 to 3", x=0.005, ha="left", weight="bold")
    by_epoch, by_step = below.subplots(1, 2, sharey=True)
    for ax, (name, (size, colour)) in zip(above.subplots(1, 3), BATCHES.items(), strict=True):
        draw_way(ax, name, size, colour)
        courses = {rate: learn(size, rate, epochs, split) for rate in rates}
        rate = min(courses, key=lambda rate: np.nan_to_num(np.mean(courses[rate][-3:]), nan=np.inf))
        steps = -(-len(split.x_train) // (size or len(split.x_train))) * np.arange(epochs + 1)
        by_epoch.plot(courses[rate], "o-", color=colour, linewidth=2, label=f"{name}, rate {rate:g}")
        by_step.plot(np.maximum(steps, 0.5), courses[rate], "o-", color=colour, linewidth=2)
    by_epoch.set(xlabel="epoch, each of 1438 samples", ylabel="training loss", yscale="log")
    by_epoch.legend(frameon=False)
    by_step.set(xlabel="steps of the optimizer; the start is drawn at 0.5", xscale="log")
    for ax in (by_epoch, by_step):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__, quick="one rate, two epochs")
