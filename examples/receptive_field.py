"""What a unit can see, and what it looks at

Stacked 3x3 layers see 3, 5, 7, ... pixels across, for fewer weights than one large kernel. But the gradient says that
they do not look at all of it alike: ways from the middle are many and from the corners few, so that the effective
field is a blur whose width grows with the square root of the depth, while the window grows with the depth.

    python examples/receptive_field.py [receptive_field.png]

needs `pip install ".[docs]"`

W. Luo et al.: Understanding the effective receptive field in deep convolutional neural networks, NIPS 2016,
arXiv:1701.04128.
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage import data

from convkit import nn
from convkit.analysis import effective_receptive_field, receptive_field

INK, FAINT, ORANGE, BLUE = "#222222", "#666666", "#d9780f", "#2166ac"
DEPTHS, SEEDS, CHANNELS, SIDE = (5, 10, 20, 40), 12, 6, 95


def network(depth, rng):
    """So many 3x3 convolutions and ReLUs, of random weights."""
    layers = []
    for _ in range(depth):
        layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False, rng=rng), nn.ReLU()]
    return nn.Sequential(*layers)


def fields(depth):
    """Of networks of a depth: the window's side, the mean effective field, 1 at its largest, and its mean side."""
    side = min(SIDE, 2 * depth + 15)  # what is farther out has no influence
    networks = [network(depth, np.random.default_rng(seed)) for seed in range(SEEDS)]
    window = receptive_field(networks[0], (1, CHANNELS, side, side))[-1].size[0]
    measured = [effective_receptive_field(each, (1, CHANNELS, side, side), rng=0) for each in networks]
    field = np.mean([one.gradient / one.gradient.sum() for one in measured], axis=0)
    field = np.pad(field / field.max(), (SIDE - side) // 2)
    return window, field, np.mean([one.size for one in measured])


def draw_stack(ax):
    """One, two and three 3x3 layers in cross-section, and their weights against those of one large kernel."""
    for level in range(4):
        for x in range(-3, 4):
            seen = abs(x) <= 3 - level
            face = (BLUE, "#6f9fcb", "#b4cde4", ORANGE)[level] if seen else "white"
            ax.add_patch(Rectangle((x - 0.45, 1.5 * level), 0.9, 0.55, facecolor=face, edgecolor="#bbbbbb"))
        for x in range(level - 3, 4 - level) if level else ():
            for tap in (-1, 0, 1):
                ax.plot([x, x + tap], [1.5 * level, 1.5 * level - 0.95], color="#999999", linewidth=0.8, zorder=0)
        name = f"after {level} layer{'s' if level > 1 else ''}" if level else "input"
        ax.text(3.8, 1.5 * level + 0.27, name, va="center", fontsize=10.5, color=INK)
    ax.set(xlim=(-3.7, 6.6), ylim=(-0.2, 5.3))
    ax.set_title("Three 3x3 layers see 7 pixels", fontsize=12.5, loc="left", color=INK)
    ax.axis("off")


def draw_weights(ax):
    """Weights of a stack of 3x3 layers and of the single kernel that sees as far."""
    layers = np.arange(1, 6)
    stacked, single = 9 * layers, (2 * layers + 1) ** 2
    ax.bar(layers - 0.19, stacked, 0.36, color=BLUE, label="stack of 3x3")
    ax.bar(layers + 0.19, single, 0.36, color="#bbbbbb", label="one large kernel")
    for x, a, b in zip(layers, stacked, single, strict=True):
        ax.text(x - 0.19, a + 1.5, a, ha="center", fontsize=10, color=INK)
        ax.text(x + 0.19, b + 1.5, b, ha="center", fontsize=10, color=INK)
    ax.set(xticks=layers, xticklabels=[f"{n}x{n}" for n in 2 * layers + 1], yticks=[], ylim=(0, 135))
    ax.set_xlabel("pixels seen", fontsize=11)
    ax.set_title("Weights, times channels in and out", fontsize=12.5, loc="left", color=INK)
    ax.legend(frameon=False, fontsize=10.5, loc="upper left")
    ax.spines[["top", "right", "left"]].set_visible(False)


def draw_widths(ax, windows, effective):
    """Sides of the window and of the effective field against the depth."""
    depth = np.linspace(1, DEPTHS[-1])
    ax.plot(DEPTHS, windows, "s-", color=ORANGE, linewidth=2, markersize=6, label="window")
    ax.plot(DEPTHS, effective, "o", color=BLUE, markersize=7, label="effective field")
    ax.plot(depth, effective[-1] * np.sqrt(depth / DEPTHS[-1]), color=BLUE, linewidth=1.5, label="a square root")
    ax.set(xlim=(0, 42), ylim=(0, 112), yticks=range(0, 81, 20), xticks=(0, *DEPTHS))
    ax.set_xlabel("3x3 layers", fontsize=11)
    ax.set_title("Side in pixels, by depth", fontsize=12.5, loc="left", color=INK)
    ax.legend(frameon=False, fontsize=10.5, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)


def draw_field(ax, photo, depth, window, field):
    """The photograph, lit by the effective field, and the window as a frame."""
    ax.imshow(photo * (0.33 + 0.67 * field), cmap="gray", vmin=0, vmax=1)
    corner = (SIDE - window) / 2 - 0.5
    ax.add_patch(Rectangle((corner, corner), window, window, fill=False, edgecolor=ORANGE, linewidth=2))
    ax.set_title(f"{depth} layers: window {window}x{window}", fontsize=12.5, loc="left", color=INK)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def main(picture):
    photo = data.astronaut()[60:155, 176:271].mean(axis=2) / 255
    windows, effective, sides = zip(*map(fields, DEPTHS), strict=True)
    figure = Figure(figsize=(12, 7.6), dpi=130, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.02))
    left, middle, right = above.subplots(1, 3, width_ratios=(1.15, 1, 1))
    draw_stack(left)
    draw_weights(middle)
    draw_widths(right, windows, sides)
    for ax, depth, *seen in zip(below.subplots(1, 4), DEPTHS, windows, effective, strict=True):
        draw_field(ax, photo, depth, *seen)
    note = f"Brightness: size of the middle output's gradient, mean of {SEEDS} random networks with ReLU. "
    note += "Effective field: where it is at least 4.55 % of its largest."
    below.supxlabel(note, fontsize=11, color=FAINT)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
