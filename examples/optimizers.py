"""Optimizers racing down a valley

A narrow valley that bends: Rosenbrock's function. Plain descent must take steps that suit the steep walls and then
crawls along the floor. Momentum gathers speed where gradients agree; RMSprop and Adam give each coordinate a rate of
its own, by the size of its gradients. Each runs with the best of the rates 0.0001, 0.0002, 0.0005 ... 0.5 for this
start and 200 steps: another valley has another winner.

    python examples/optimizers.py [optimizers.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import nn, optim

START, STEPS = (-1.5, 1.4), 200
LEFT, RIGHT, BOTTOM, TOP = -2, 1.8, -1, 2.6
RATES = [digit * 10.0**power for power in (-4, -3, -2, -1) for digit in (1, 2, 5)]
RACERS = {  # name, colour, and the optimizer of a rate
    "SGD": ("#666666", lambda p, rate: optim.SGD(p, rate)),
    "momentum 0.9": ("#d9780f", lambda p, rate: optim.SGD(p, rate, momentum=0.9)),
    "Nesterov 0.9": ("#b2182b", lambda p, rate: optim.SGD(p, rate, momentum=0.9, nesterov=True)),
    "RMSprop": ("#1b7837", lambda p, rate: optim.RMSprop(p, rate)),
    "Adam": ("#2166ac", lambda p, rate: optim.Adam(p, rate)),
}


def valley(x, y):
    """Rosenbrock's function with walls of 5 instead of 100; its minimum, 0, is at (1, 1)."""
    return (1 - x) ** 2 + 5 * (y - x * x) ** 2


def slope(x, y):
    return np.array([-2 * (1 - x) - 20 * x * (y - x * x), 10 * (y - x * x)])


def race(make, rate):
    """The positions ``(steps + 1, 2)`` of one optimizer, until it leaves the picture."""
    position = nn.Parameter(np.array(START))
    optimizer, path = make([position], rate), [START]
    for _ in range(STEPS):
        position.grad = slope(*position.data)
        optimizer.step()
        path.append(tuple(position.data))
        if not (LEFT < path[-1][0] < RIGHT and BOTTOM < path[-1][1] < TOP):
            break
    return np.array(path)


def best(make):
    """Of the rates that stay in the picture, the one whose last quarter is lowest, and its race."""
    races = [(rate, race(make, rate)) for rate in RATES]
    whole = [entry for entry in races if len(entry[1]) > STEPS]
    return min(whole, key=lambda entry: np.log(valley(*entry[1][-STEPS // 4 :].T)).mean())


def main(picture):
    figure = Figure(figsize=(13, 7.6), dpi=120, layout="constrained")
    axes = figure.subplot_mosaic([[*range(3)], [3, 4, "values"]])
    x, y = np.meshgrid(np.linspace(LEFT, RIGHT, 300), np.linspace(BOTTOM, TOP, 300))
    for k, (name, (colour, make)) in enumerate(RACERS.items()):
        (rate, track), ax = best(make), axes[k]
        ax.contour(x, y, valley(x, y), levels=np.geomspace(0.03, 100, 14), colors="#c8c8c8", linewidths=0.8)
        ax.plot(*track.T, "-", color=colour, linewidth=1.4)
        ax.plot(*track[::10].T, "o", color=colour, markersize=3.5)
        ax.plot(*START, "o", color="black", fillstyle="none", markersize=9)
        ax.plot(1, 1, "+", color="black", markersize=12, markeredgewidth=2)
        ax.set_title(f"{name}, rate {rate:g}: {valley(*track[-1]):.1e} left", loc="left")
        ax.set(xlim=(LEFT, RIGHT), ylim=(BOTTOM, TOP), xticks=[], yticks=[])
        axes["values"].semilogy(valley(*track.T), color=colour, linewidth=1.8, label=name)
    axes["values"].set_title("value, step by step", loc="left")
    axes["values"].set(xlabel="step; in the pictures a dot every ten", xlim=(0, STEPS))
    axes["values"].legend(frameon=False, fontsize=9)
    axes["values"].spines[["top", "left"]].set_visible(False)
    axes["values"].yaxis.tick_right()  # at the edge of the figure, which leaves all columns equally far apart
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
