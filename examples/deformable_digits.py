"""A deformable layer against a plain one

Digits are turned by up to 45 degrees, scaled by 0.8 to 1.2 and bent by a smooth random field. Networks differ in their
last convolution alone: plain, or deformable, its taps moving with what they see, with fewer channels so that it never
has more parameters. Where the last convolution is the second and sees little of the picture, moving taps win clearly.
Where it is the third and sees most of it anyway, they gain next to nothing: a third plain convolution does as much.

    python examples/deformable_digits.py [deformable_digits.png] [--quick]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import data, grid_sample, interpolate, nn, optim

RED, BLUE, FAINT = "#b2182b", "#2166ac", "#666666"
SIZE = 16  # pixels of a warped digit; the digits themselves have 8
RATE = {2: 0.05, 3: 0.03}  # of Adam, by number of convolutions: good for both kinds, found by trying 0.01 to 0.1
NETWORKS = {  # channels of the convolutions, plain and with the last one deformable, at no more parameters
    "two convolutions": (((8, 16), (8, 14)), ((16, 32), (16, 30))),
    "three convolutions": (((6, 10, 16), (6, 10, 14)), ((8, 16, 24), (8, 16, 22))),
}


def warp(x, rng):
    """Every image turned, scaled and bent by numbers of its own, on a sheet with a margin."""
    line = (2 * np.arange(SIZE) + 1) / SIZE - 1
    places = np.stack(np.meshgrid(line, line), axis=-1)  # (SIZE, SIZE, 2) of (x, y)
    angle, scale = rng.uniform(-np.pi / 4, np.pi / 4, len(x)), rng.uniform(0.8, 1.2, len(x))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 1.25 / scale  # (2, 2, N)
    grid = np.einsum("ijn,yxj->nyxi", turn, places)
    bend = interpolate(rng.normal(0, 0.12, (len(x), 2, 4, 4)), size=(SIZE, SIZE), mode="bicubic")
    return grid_sample(x, (grid + np.moveaxis(bend, 1, -1)).astype(x.dtype))


class Deformable(nn.Module):
    """A 3x3 deformable convolution whose offsets come from a 1x1 convolution, which starts from zeros."""

    def __init__(self, in_channels, out_channels, rng):
        self.conv = nn.DeformConv2d(in_channels, out_channels, 3, padding=1, branch=False, rng=rng)
        self.offsets = nn.Conv2d(in_channels, 18, 1, init="zeros")

    def run(self, x):
        offset, through_offsets = self.offsets.begin(x)
        y, through_conv = self.conv.begin(x, offset)

        def back(grad, need_input):
            dx, doffset = through_conv(grad)
            return dx + through_offsets(doffset)

        return y, back


def network(channels, deformable, rng):
    """Convolutions with pooling between, the last one deformable or not; the mean over the picture; ten scores."""
    layers = []
    for i, o in zip((1, *channels[:-2]), channels[:-1], strict=True):
        layers += [nn.Conv2d(i, o, 3, padding=1, rng=rng), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
    i, o = channels[-2:]
    last = Deformable(i, o, rng) if deformable else nn.Conv2d(i, o, 3, padding=1, rng=rng)
    layers += [last, nn.BatchNorm2d(o), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(o, 10, init="glorot", rng=rng))


def train(channels, deformable, seed, epochs, split):
    """A trained network: Adam, a rate that falls to zero, and every digit warped anew in each epoch."""
    rng = np.random.default_rng(seed)
    model = network(channels, deformable, rng)
    optimizer = optim.Adam(model.parameters(), lr=RATE[len(channels)])
    schedule = optim.schedules.Cosine(epochs * -(-len(split.x_train) // 64)).drive(optimizer)
    for _ in range(epochs):
        for x, y in data.minibatches(warp(split.x_train, rng), split.y_train, 64, rng=rng):
            loss = nn.losses.softmax_cross_entropy(model(x), y)
            optimizer.zero_grad()
            model.backward(loss.grad, need_input=False)
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracies(channels, deformable, seeds, epochs, split, test):
    """Per cent of the test's digits that each seed's network knows; the number of parameters; the last network."""
    right = []
    for seed in range(seeds):
        model = train(channels, deformable, seed, epochs, split)
        right.append(100 - 100 * nn.losses.zero_one(model(test[0]), test[1]).value)
    return np.array(right), sum(parameter.size for parameter in model.parameters()), model


def draw_digits(figure, split, x):
    """Ten digits as they are, and warped."""
    first = [np.flatnonzero(split.y_test == digit)[0] for digit in range(10)]
    axes = figure.subplots(2, 10)
    for k, i in enumerate(first):
        for ax, image in ((axes[0, k], split.x_test[i, 0]), (axes[1, k], x[i, 0])):
            ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_color("#c8c8c8")
    figure.suptitle("digits, and the same warped", x=0.01, ha="left", fontsize=12)


def draw_taps(figure, model, x):
    """Where the nine taps of an output in the middle read, on the digit: without offsets a square, else moved."""
    offsets = model[4].offsets(model[:4](x))  # (N, 18, 8, 8): pairs (down, right), in pixels of the pooled picture
    for ax, image, moved in zip(figure.subplots(1, 5), x, offsets[:, :, 4, 4], strict=True):
        taps = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij"), axis=-1).reshape(9, 2)
        still, there = (2 * (4 + taps + move) + 0.5 for move in (0, moved.reshape(9, 2)))
        ax.imshow(image[0], cmap="gray_r", vmin=0, vmax=1.6)
        ax.plot(np.stack([still, there])[..., 1], np.stack([still, there])[..., 0], color=BLUE, linewidth=0.8)
        ax.plot(still[:, 1], still[:, 0], "o", color=RED, markersize=3)
        ax.plot(there[:, 1], there[:, 0], "o", color=BLUE, markersize=4.5)
        ax.set(xlim=(-5.5, SIZE + 4.5), ylim=(SIZE + 4.5, -5.5), xticks=[], yticks=[])
        ax.spines[:].set_color("#c8c8c8")
    words = "where the nine taps of one output read: plain (red), deformable (blue)"
    figure.suptitle(words, x=0.01, ha="left", fontsize=12)


def draw_accuracies(ax, sizes, deformable, runs, split, test):
    """Accuracy against parameters: every seed a dot, mean and standard deviation; the largest network is returned."""
    colour, name, points = (BLUE, "deformable", []) if deformable else (RED, "plain", [])
    for pair in sizes:
        values, count, model = accuracies(pair[deformable], deformable, *runs, split, test)
        points.append((count, values.mean()))
        label = f"{values.mean():.1f} ± {values.std(ddof=1):.1f} %"
        print(f"{name:<10} {str(pair[deformable]):<12} {count:5d} parameters: {label}", flush=True)
        ax.plot(np.full(len(values), count), values, "o", color=colour, markersize=3.5, alpha=0.5)
        ax.errorbar(*points[-1], values.std(ddof=1), color=colour, capsize=5, linewidth=1.5)
        place = {"xytext": (-12, 12), "ha": "right"} if deformable else {"xytext": (12, -20), "ha": "left"}
        ax.annotate(label, points[-1], textcoords="offset points", color=colour, fontsize=10, **place)
    ax.plot(*np.transpose(points), "o-", color=colour, markersize=7, linewidth=2, label=f"the last one {name}")
    return model


def main(picture, quick):
    runs = (2, 1) if quick else (5, 30)  # seeds and epochs
    split, rng = data.digits_split(), np.random.default_rng(100)
    test = np.concatenate([warp(split.x_test, rng) for _ in range(4)]), np.tile(split.y_test, 4)
    figure = Figure(figsize=(13, 7.4), dpi=120, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 2))
    digits, taps = above.subfigures(1, 2)
    draw_digits(digits, split, test[0])
    for ax, (title, sizes) in zip(below.subplots(1, 2, sharey=True), NETWORKS.items(), strict=True):
        for deformable in (False, True):
            model = draw_accuracies(ax, sizes[:1] if quick else sizes, deformable, runs, split, test)
        if title == "two convolutions":
            draw_taps(taps, model, test[0][5:10])
        ax.set_title(title, loc="left", fontsize=12)
        ax.set(xlabel=f"parameters; small dots: {runs[0]} seeds, bars: their standard deviation")
        ax.margins(x=0.4, y=0.12)
        ax.legend(frameon=False, loc="lower right")
        ax.spines[["top", "right"]].set_visible(False)
    below.axes[0].set_ylabel(f"accuracy on {len(test[0])} warped digits, held out, %")
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__, quick="one size of each, two seeds, one epoch")
