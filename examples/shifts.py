"""Convolution moves with the picture; pooling lets it stay

Shift the photograph and a convolution's answer shifts along, unchanged to the last bit: it is equivariant. A stride
breaks that for every shift but its multiples. In return pooling makes the answer itself change less when the picture
moves, and pooling over the whole image does not change: invariance.

    python examples/shifts.py [shifts.png]

needs `pip install ".[docs]"`

R. Zhang: Making convolutional networks shift-invariant again, ICML 2019, arXiv:1904.11486.
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure
from skimage import data

from convkit import adaptive_avg_pool2d, conv2d, max_pool2d

INK, FAINT = "#222222", "#666666"
SHIFTS = np.arange(17)
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
BANK = np.stack([SOBEL, SOBEL.T, -SOBEL, -SOBEL.T])[:, np.newaxis].astype(np.float32)  # edges of four directions


def features(photo):
    """Strength of the edges of four directions; the image closes on itself, so that a shift loses nothing."""
    return conv2d(photo, BANK, padding="same", padding_mode="circular", activation="relu")


STAGES = {  # name: what is done to the photograph, its stride (0: no positions are left), colour
    "convolution": (features, 1, "#2166ac"),
    "then max-pooling 2x2": (lambda photo: max_pool2d(features(photo), 2), 2, "#4d9221"),
    "then max-pooling 8x8": (lambda photo: max_pool2d(features(photo), 8), 8, "#d9780f"),
    "then mean over the image": (lambda photo: adaptive_avg_pool2d(features(photo), 1), 0, "#b2182b"),
}


def moved(image, by):
    """The image shifted to the right; what leaves it comes in on the left."""
    return np.roll(image, by, axis=-1)


def change(image, other):
    """Root mean square of the difference, as a share of the image's."""
    return np.sqrt(((image - other) ** 2).mean() / (image**2).mean())


def moved_back(first, second, by, stride):
    """The answer to a photograph that was shifted, moved back by the whole outputs that fit best."""
    back = [moved(second, -steps) for steps in {by // stride, -(-by // stride)}]
    return min(back, key=lambda other: change(first, other))


def draw_curves(left, right, photo):
    """Distance from equivariance, and from invariance, against the shift."""
    for name, (stage, stride, colour) in STAGES.items():
        first, shifted = stage(photo), [stage(moved(photo, by)) for by in SHIFTS]
        changes = [change(first, second) for second in shifted]
        style = {"color": colour, "linewidth": 2, "marker": "o", "markersize": 5, "clip_on": False, "zorder": 3}
        if stride:
            back = [moved_back(first, second, by, stride) for by, second in zip(SHIFTS, shifted, strict=True)]
            errors = [change(first, second) for second in back]
            left.plot(SHIFTS, 100 * np.array(errors), **style)
        right.plot(SHIFTS, 100 * np.array(changes), label=name, **style)
    left.set_title("Equivariance: does the answer move along?", fontsize=12.5, loc="left", color=INK)
    left.set_ylabel("change, % of r.m.s., after moving back", fontsize=11)
    right.set_title("Invariance: does the answer stay as it was?", fontsize=12.5, loc="left", color=INK)
    right.set_ylabel("change, % of r.m.s.", fontsize=11)
    for ax in (left, right):
        ax.set_xlabel("shift of the photograph, pixels", fontsize=11)
        ax.set(xlim=(0, SHIFTS[-1]), ylim=(0, None), xticks=SHIFTS[::2])
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)


def draw_row(axes, name, photo, by):
    """The two answers, and their difference."""
    stage, stride, _ = STAGES[name]
    first = stage(photo)
    second = moved_back(first, stage(moved(photo, by)), by, stride)
    share = "none: equal to the last bit" if np.array_equal(first, second) else f"{change(first, second):.0%} of r.m.s."
    axes[2].text(0.97, 0.95, share.replace("%", " %"), transform=axes[2].transAxes, ha="right", va="top", fontsize=11.5)
    first, second = first.max(axis=0), second.max(axis=0)
    for ax, image, colours, bound in (
        (axes[0], first, "gray_r", 0),
        (axes[1], second, "gray_r", 0),
        (axes[2], second - first, "RdBu_r", -0.4),
    ):
        ax.imshow(image, cmap=colours, vmin=bound, vmax=0.4)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="lightgrey")
    axes[0].set_ylabel(name.replace("then ", "").replace(" 2x2", "\n2x2, stride 2"), fontsize=11.5, color=INK)


def main(picture):
    photo = data.camera()[40:248, 90:378][np.newaxis].astype(np.float32) / 255
    figure = Figure(figsize=(11, 9.4), dpi=130, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    above, below = figure.subfigures(2, 1, height_ratios=(5.3, 4.1))
    axes = above.subplots(2, 3)
    titles = ("answer to the photograph", "answer to it shifted by 1, shifted back", "difference")
    for row, name in zip(axes, list(STAGES)[:2], strict=True):
        draw_row(row, name, photo, by=1)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=12, loc="left", color=INK)
    left, right = below.subplots(1, 2)
    draw_curves(left, right, photo)
    right.legend(frameon=False, fontsize=10.5)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
