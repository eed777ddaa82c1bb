"""What the first layer learns to look for

A network starts from noise. As it learns to read digits, its first layer's kernels turn into detectors of strokes,
gaps and edges, though nobody asked for any: the loss did. Each is best described by what excites it most.

    python examples/learned_filters.py [learned_filters.png] [--quick]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from convkit import data, nn, optim
from convkit.nn.losses import softmax_cross_entropy

INK, FAINT, ORANGE = "#222222", "#666666", "#d9780f"
FILTERS, SIZE, FAVOURITES = 16, 5, 7
MOMENTS = (0, 1, 4, 15)  # epochs after which the kernels are drawn


def network(rng):
    """Three convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, FILTERS, SIZE, padding=2, rng=rng),
        nn.ReLU(),
        nn.Conv2d(FILTERS, 24, 3, stride=2, padding=1, rng=rng),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48 * 2 * 2, 10, init="glorot", rng=rng),
    )


def accuracy(model, x, y):
    return (model(x).argmax(axis=1) == y).mean()


def learn(model, split, epochs, rng):
    """Train; the first layer's kernels and the held-out accuracy after each epoch, and before the first."""
    optimizer = optim.SGD(model.parameters(), 0.04, 0.9, weight_decay=5e-3)
    batches = data.minibatches(split.x_train, split.y_train, 32, rng=rng)
    kernels = [model[0].weight.data[:, 0].copy()]
    accuracies = [accuracy(model, split.x_test, split.y_test)]
    for epoch in range(epochs):
        optimizer.lr = 0.02 * (1 + np.cos(np.pi * epoch / epochs))  # half a cosine, from 0.04 to nought
        for images, labels in batches:
            loss = softmax_cross_entropy(model(data.shift(images, rng=rng)), labels)
            model.zero_grad()
            model.backward(loss.grad, need_input=False)
            optimizer.step()
        kernels.append(model[0].weight.data[:, 0].copy())
        accuracies.append(accuracy(model, split.x_test, split.y_test))
    return np.array(kernels), np.array(accuracies)


def mosaic(ax, images, columns, beyond=0, **colours):
    """Images side by side, with room for what reaches so many pixels beyond; where each one's upper left pixel lies."""
    (high, wide), apart = images.shape[1:], max(2 * beyond, 1)
    rows = len(images) // columns
    board = np.full((rows * (high + apart) - apart, columns * (wide + apart) - apart), np.nan)
    corners = [(k // columns * (high + apart), k % columns * (wide + apart)) for k in range(len(images))]
    for image, (y, x) in zip(images, corners, strict=True):
        board[y : y + high, x : x + wide] = image
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), wide, high, fill=False, edgecolor="#cccccc"))
    ax.imshow(board, **colours)
    ax.set(xlim=(-0.6 - beyond, board.shape[1] - 0.4 + beyond), ylim=(board.shape[0] - 0.4 + beyond, -0.6 - beyond))
    ax.axis("off")
    return corners


def draw_kernels(ax, kernels, columns):
    bound = np.abs(kernels).max()
    mosaic(ax, kernels, columns, cmap="RdBu_r", vmin=-bound, vmax=bound)


def draw_favourites(ax, images, answers):
    """The digits with a kernel's strongest answers, and a frame where it gave them."""
    best = np.argsort(-answers.max(axis=(1, 2)))[:FAVOURITES]
    corners = mosaic(ax, images[best], FAVOURITES, SIZE // 2, cmap="gray_r", vmin=0, vmax=1)
    for n, corner in zip(best, corners, strict=True):
        y, x = np.add(corner, np.unravel_index(answers[n].argmax(), answers.shape[1:]))
        ax.add_patch(Rectangle((x - SIZE / 2, y - SIZE / 2), SIZE, SIZE, fill=False, edgecolor=ORANGE, linewidth=1.8))


def main(picture, quick):
    split, rng = data.digits_split(), np.random.default_rng(0)
    model = network(rng)
    moments = MOMENTS[:2] if quick else MOMENTS
    kernels, accuracies = learn(model, split, moments[-1], rng)
    figure = Figure(figsize=(13, 7.9), dpi=130)
    for k, epoch in enumerate(moments):
        ax = figure.add_axes((0.02 + 0.246 * k, 0.557, 0.222, 0.365))
        draw_kernels(ax, kernels[epoch], columns=4)
        moment = f"after {epoch} epoch{'s' if epoch > 1 else ''}" if epoch else "before training"
        ax.set_title(f"{moment}: {100 * accuracies[epoch]:.0f} % right", fontsize=13, color=INK)
    figure.text(
        0.5, 0.505, "The strongest eight, and the held-out digits that excite each most", ha="center", fontsize=14
    )
    strongest = np.argsort(-np.square(kernels[-1]).sum(axis=(1, 2)))[:8]
    answers = model[:2](split.x_test)
    for place, k in enumerate(strongest):
        left, bottom = 0.02 + 0.494 * (place // 4), 0.385 - 0.109 * (place % 4)
        draw_kernels(figure.add_axes((left, bottom + 0.005, 0.055, 0.0965)), kernels[-1, k : k + 1], columns=1)
        draw_favourites(figure.add_axes((left + 0.06, bottom, 0.42, 0.107)), split.x_test[:, 0], answers[:, k])
    note = "Kernels: red looks for ink, blue for paper. Digits: held out. Frames: the window that excites, padding too."
    figure.text(0.5, 0.025, note, ha="center", fontsize=11.5, color=FAINT)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__, quick="train for one epoch only")
