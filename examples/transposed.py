"""Checkerboards, and how to be rid of them

A transposed convolution lays a copy of its kernel on every input pixel, a stride apart. If the stride does not divide
the kernel, some outputs get more copies than others: a checkerboard. A kernel that it divides can be even, yet
nothing makes its weights so; up-sampling first and convolving then is even whatever the weights.

    python examples/transposed.py [transposed.png]

needs `pip install ".[docs]"`

A. Odena, V. Dumoulin, C. Olah: Deconvolution and checkerboard artifacts, Distill, 2016.
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage import data

from convkit import avg_pool2d, conv2d, conv_transpose2d, interpolate

INK, FAINT = "#222222", "#666666"
LAYERS = 100
COPIES = ("#2166ac", "#d9780f", "#4d9221", "#8c3f97", "#b2182b")


def transposed(x, weight):
    """Twice as large, by transposed convolution; the edge, where copies are missing, is cut off."""
    return conv_transpose2d(x, weight, stride=2)[..., 2:-2, 2:-2]


def resized(x, weight):
    """Twice as large, by repeating pixels, then an ordinary convolution."""
    return conv2d(interpolate(x, scale_factor=2), weight)[..., 1:-1, 1:-1]


KINDS = (  # name, up-sampler, kernel size
    ("kernel 3, stride 2", transposed, 3),
    ("kernel 4, stride 2", transposed, 4),
    ("repeat pixels, then convolve", resized, 3),
)


def draw_copies(ax, kernel):
    """What five inputs of a signal put into the output, copies stacked where they overlap."""
    height = np.zeros(2 * 4 + kernel)
    for i, colour in enumerate(COPIES):
        for j in range(2 * i, 2 * i + kernel):
            ax.add_patch(Rectangle((j, height[j]), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
            height[j] += 1
        ax.plot(2 * i + kernel / 2, -0.9, "o", color=colour, markersize=9, clip_on=False)
    ax.set(xlim=(-0.2, len(height) + 0.2), ylim=(-1.3, 2.2))


def draw_repeats(ax):
    """The same by repetition: two outputs an input, all alike."""
    for i, colour in enumerate(COPIES):
        for j in (2 * i, 2 * i + 1):
            ax.add_patch(Rectangle((j, 0), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
        ax.plot(2 * i + 1, -0.9, "o", color=colour, markersize=9, clip_on=False)
    ax.text(len(COPIES), 1.5, "then convolved as ever", ha="center", va="center", fontsize=11, color=FAINT)
    ax.set(xlim=(-0.7, 2 * len(COPIES) + 0.7), ylim=(-1.3, 2.2))


def of_flat_grey(upsample, kernel, seed):
    """A flat image of four channels through random weights; one channel, rather bright, of mean square 1."""
    weight = np.random.default_rng(seed).standard_normal((4, 4, kernel, kernel))
    y = upsample(np.ones((1, 4, 11, 12)), weight)[0, 0]
    return y / np.sqrt((y**2).mean()) * np.sign(y.mean())


def show(ax, image):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color="lightgrey")


def draw_column(axes, kind, small):
    """From top to bottom: the copies, a photograph through equal weights, a flat grey through random ones."""
    name, upsample, kernel = kind
    if upsample is transposed:
        draw_copies(axes[0], kernel)
    else:
        draw_repeats(axes[0])
    axes[0].axis("off")
    axes[0].set_title(name, fontsize=13, weight="bold", color=INK)
    equal = np.ones((1, 1, kernel, kernel)) / kernel**2 * (4 if upsample is transposed else 1)
    show(axes[1], upsample(small, equal)[0, 0])
    show(axes[2], 0.5 + 0.25 * of_flat_grey(upsample, kernel, seed=0))
    if upsample is resized:
        axes[2].text(0.5, 0.5, "flat again", transform=axes[2].transAxes, ha="center", va="center", fontsize=12)
    deviations = [of_flat_grey(upsample, kernel, seed).std() for seed in range(LAYERS)]
    axes[2].set_xlabel(f"pattern: {100 * np.mean(deviations):.0f} % of the output", fontsize=12, color=INK, labelpad=6)


def main(picture):
    photo = data.astronaut()[0:208, 110:350].mean(axis=2) / 255
    small = avg_pool2d(photo[np.newaxis, np.newaxis], 2)
    figure = Figure(figsize=(11, 9.2), dpi=130, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.07)
    axes = figure.subplots(3, 3, height_ratios=(1.1, 2.6, 2.6))
    rows = (
        "what five inputs put\ninto the output",
        "a photograph,\nall weights equal",
        "a flat grey,\nrandom weights",
    )
    where = {"ha": "center", "va": "center", "rotation": 90, "fontsize": 11, "color": FAINT}
    for ax, text in zip(axes[:, 0], rows, strict=True):
        ax.text(-0.06, 0.5, text, transform=ax.transAxes, **where)
    for column, kind in zip(axes.T, KINDS, strict=True):
        draw_column(column, kind, small)
    note = f"Pattern: standard deviation over root mean square, mean of {LAYERS} layers of random weights"
    figure.supxlabel(note, fontsize=10, color=FAINT)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
