"""Dilation: a wide view for the same nine weights

A dilated kernel reads pixels that lie apart, so that it sees far at no cost. Stacked layers must share the work:
dilations 1, 2, 4 see every pixel of a window of 15, whereas 2, 2, 2 leave holes, since even steps never lead to an
odd pixel.

    python examples/dilated.py [dilated.png]

needs `pip install ".[docs]"`

F. Yu, V. Koltun: Multi-scale context aggregation by dilated convolutions, ICLR 2016, arXiv:1511.07122.
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure
from skimage import data

from convkit import conv2d, conv2d_backward

INK, ORANGE = "#222222", "#d9780f"
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
WINDOW = 17  # pixels across, in the boards of the first two rows


def read_by(dilations):
    """How many ways lead from each input pixel to the middle output through 3x3 layers of these dilations.

    That is the gradient of this output when every weight is 1.
    """
    ways = np.zeros((1, 1, WINDOW, WINDOW), np.float32)
    ways[..., WINDOW // 2, WINDOW // 2] = 1
    ones = np.ones((1, 1, 3, 3), np.float32)
    for dilation in reversed(dilations):
        options = {"padding": "same", "dilation": dilation, "need": "x"}
        ways = conv2d_backward(ways, ways.shape, ones, **options).x
    return ways[0, 0]


def draw_board(ax, ways, title, note):
    """A window of pixels, darker where more ways start, with a frame around all that is seen."""
    ax.imshow(np.ma.masked_equal(np.sqrt(ways), 0), cmap="YlGnBu", vmin=-0.25 * np.sqrt(ways.max()))
    ax.set_xticks(np.arange(-0.5, WINDOW), minor=True)
    ax.set_yticks(np.arange(-0.5, WINDOW), minor=True)
    ax.grid(which="minor", color="#e0e0e0", linewidth=0.5)
    ax.tick_params(which="both", length=0)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    seen = np.flatnonzero(ways.any(axis=0))
    low, high = seen[0] - 0.5, seen[-1] + 0.5
    ax.plot([low, high, high, low, low], [low, low, high, high, low], color=ORANGE, linewidth=2, clip_on=False)
    ax.set_title(title, fontsize=11.5, loc="left", color=INK)
    ax.set_xlabel(note, fontsize=10, color=INK)


def draw_boards(figure):
    """One layer, and three on top of each other."""
    figure.suptitle("Pixels that the output in the middle reads, darker where more ways lead to it", fontsize=13)
    axes = figure.subplots(2, 4)
    for ax, dilation in zip(axes[0], (1, 2, 4, 8), strict=True):
        side = 2 * dilation + 1
        draw_board(ax, read_by([dilation]), f"dilation {dilation}", f"{side}x{side} window, 9 pixels read")
    for ax, dilations in zip(axes[1], ((1, 1, 1), (2, 2, 2), (1, 2, 4), (1, 2, 5)), strict=True):
        ways = read_by(dilations)
        side, read = 2 * sum(dilations) + 1, np.count_nonzero(ways)
        share = "all pixels read" if read == side * side else f"{read} of {side * side} pixels read"
        draw_board(ax, ways, "three layers: {}, {}, {}".format(*dilations), f"{side}x{side} window, {share}")


def draw_photo(figure, photo):
    """The photograph, and one pair of edge detectors at three dilations."""
    axes = figure.subplots(1, 4)
    axes[0].imshow(photo[0], cmap="gray", vmin=0, vmax=1)
    axes[0].set_title("a photograph", fontsize=11.5, loc="left", color=INK)
    for ax, dilation in zip(axes[1:], (1, 3, 8), strict=True):
        options = {"padding": "same", "padding_mode": "replicate", "dilation": dilation}
        edges = conv2d(photo, np.stack([SOBEL, SOBEL.T])[:, np.newaxis], **options)
        ax.imshow(np.hypot(*edges), cmap="magma", vmax=2.6)
        ax.set_title(f"edges: Sobel, dilation {dilation}", fontsize=11.5, loc="left", color=INK)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)


def main(picture):
    photo = data.coffee()[20:380, 100:560].mean(axis=2, dtype=np.float32)[np.newaxis] / 255
    figure = Figure(figsize=(11, 9.4), dpi=130, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.07)
    boards, edges = figure.subfigures(2, 1, height_ratios=(6.8, 2.4))
    draw_boards(boards)
    draw_photo(edges, photo)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
