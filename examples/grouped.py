"""Groups: who is connected to whom

A convolution with groups is several narrow ones side by side: an output channel sees the input channels of its own
group alone, and the weights shrink by the number of groups. At the end stands the depthwise convolution, a kernel for
each channel, which needs a 1x1 convolution behind it if channels are to meet at all.

    python examples/grouped.py [grouped.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from convkit import conv2d

INK, FAINT = "#222222", "#666666"
CHANNELS = 8


def connections(groups, kernel):
    """(8, 8) of 0 and 1: which outputs change with which inputs, found out by trying; and the number of weights."""
    weight = np.ones((CHANNELS, CHANNELS // groups, kernel, kernel), np.float32)
    probes = np.eye(CHANNELS, dtype=np.float32)[:, :, np.newaxis, np.newaxis]  # probe c: a point in channel c alone
    answers = conv2d(probes, weight, padding="same", groups=groups)
    return (answers[:, :, 0, 0] != 0).T, weight.size


def draw_wires(ax, stages):
    """Channels as columns of dots, a column for each stage, and a line for every connection."""
    for stage, (links, group) in enumerate(stages):
        width = CHANNELS // group
        lines = [[(stage, i), (stage + 1, o)] for o, i in np.argwhere(links)]
        colours = [colour_of(o // width, group) for o, _ in np.argwhere(links)]
        ax.add_collection(LineCollection(lines, colors=colours, linewidths=1.5, alpha=0.75))
    for column in range(len(stages) + 1):
        ax.plot(np.full(CHANNELS, column), range(CHANNELS), "o", color=INK, markersize=8, zorder=3, clip_on=False)
    ax.set(xlim=(-0.12, len(stages) + 0.12), ylim=(CHANNELS - 0.5, -0.5))
    ax.axis("off")


def draw_matrix(ax, links, group):
    """The connections as a matrix, outputs down and inputs across."""
    width = CHANNELS // group
    picture = np.ones((CHANNELS, CHANNELS, 3))
    for o, i in np.argwhere(links):
        picture[o, i] = colour_of(o // width, group)
    ax.imshow(picture)
    ax.set_xticks(np.arange(-0.5, CHANNELS), minor=True)
    ax.set_yticks(np.arange(-0.5, CHANNELS), minor=True)
    ax.grid(which="minor", color="#dddddd", linewidth=0.7)
    ax.tick_params(which="both", length=0)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color="#dddddd")


def colour_of(group, groups):
    return np.array(colormaps["turbo"](0.12 + 0.76 * group / max(groups - 1, 1))[:3]) * 0.92


def main(picture):
    figure = Figure(figsize=(11, 6.6), dpi=130)
    kinds = (
        ("groups=1", "every output sees\nevery input", [(1, 3)]),
        ("groups=2", "two halves that\nnever meet", [(2, 3)]),
        ("groups=4", "four narrow\nconvolutions", [(4, 3)]),
        ("groups=8", "depthwise: a kernel\nfor each channel", [(8, 3)]),
        ("groups=8, then 1x1", "depthwise separable:\nfirst space, then channels", [(8, 3), (1, 1)]),
    )
    left = 0.034
    for title, note, stages in kinds:
        width = 0.13 if len(stages) == 1 else 0.26
        found = [connections(*stage) for stage in stages]
        wires = figure.add_axes((left, 0.47, width, 0.37))
        draw_wires(wires, [(links, stage[0]) for (links, _), stage in zip(found, stages, strict=True)])
        figure.text(left + width / 2, 0.955, title, ha="center", va="top", fontsize=13, weight="bold", color=INK)
        figure.text(left + width / 2, 0.915, note, ha="center", va="top", fontsize=10, color=FAINT)
        for k, ((links, _), (groups, kernel)) in enumerate(zip(found, stages, strict=True)):
            middle = left + width * (2 * k + 1) / (2 * len(stages))
            draw_matrix(figure.add_axes((middle - 0.055, 0.21, 0.11, 0.1833)), links, groups)
            figure.text(middle, 0.44, f"{kernel}x{kernel}", ha="center", va="center", fontsize=10.5, color=INK)
        counts = [count for _, count in found]
        total = f"{sum(counts)} weights" if len(counts) == 1 else f"{counts[0]} + {counts[1]} = {sum(counts)} weights"
        figure.text(left + width / 2, 0.155, total, ha="center", va="top", fontsize=12, weight="bold", color=INK)
        bar = figure.add_axes((left, 0.085, width, 0.022))
        bar.barh([0], [sum(counts)], color=INK)
        bar.set(xlim=(0, 576 * width / 0.13), ylim=(-0.4, 0.4))
        bar.axis("off")
        left += width + 0.038
    foot = (
        "Lines and squares: which of 8 input channels (left; across) reach which of 8 output channels (right; down). "
    )
    figure.text(0.034, 0.035, foot + "Bars: weights, to one scale.", va="center", fontsize=10, color=FAINT)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
