"""Gradient descent: the step decides

On x^2 each step multiplies x by 1 - 2 * rate: too small a rate crawls, 0.2 arrives, 1 jumps from side to side for ever,
and 1.1 flies off. On x^2 + 2 y^2 both directions share one rate, so the steeper one says how large it may be.

    python examples/gradient_descent.py [gradient_descent.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import nn, optim

RED, ORANGE, BLUE, GREEN, FAINT = "#b2182b", "#d9780f", "#2166ac", "#1b7837", "#666666"


def descend(curvature, start, rate, steps):
    """Positions ``(steps + 1, len(start))`` of gradient descent on sum(curvature * x^2)."""
    x = nn.Parameter(np.array(start, np.float64))
    optimizer, path = optim.SGD([x], lr=rate), [x.data.copy()]
    for _ in range(steps):
        x.grad = 2 * np.array(curvature) * x.data
        optimizer.step()
        path.append(x.data.copy())
    return np.array(path)


def draw_parabola(ax, rate, steps, colour, says):
    """The steps on x^2, from 10."""
    path = descend([1], [10], rate, steps)[:, 0]
    reach = max(10, np.abs(path).max()) * 1.12
    x = np.linspace(-reach, reach, 401)
    ax.plot(x, x * x, color="#c8c8c8", linewidth=2, zorder=0)
    ax.plot(path, path**2, "o-", color=colour, markersize=5, linewidth=1.2)
    ax.plot(path[:1], path[:1] ** 2, "o", color=colour, markersize=10, fillstyle="none")
    numbers = ", ".join(f"{value:.4g}" for value in path[:5])
    ax.set_title(f"rate {rate}: {says}", loc="left", fontsize=12)
    ax.set_xlabel(f"x = {numbers} ...", fontsize=10.5, color=FAINT)
    ax.set(xlim=(-reach, reach), ylim=(-0.06 * reach**2, reach**2))
    ax.spines[["top", "right"]].set_visible(False)


def draw_valley(ax, rate, steps, colour, says):
    """The steps on x^2 + 2 y^2, from (-3.5, -3.5), over its contours."""
    path = descend([1, 2], [-3.5, -3.5], rate, steps)
    x, y = np.meshgrid(np.linspace(-4.4, 4.4, 201), np.linspace(-4.4, 4.4, 201))
    ax.contour(x, y, x**2 + 2 * y**2, levels=[0.3, 1.5, 4, 8, 14, 22, 32, 44], colors="#c8c8c8", linewidths=0.9)
    ax.plot(*path.T, "o-", color=colour, markersize=4.5, linewidth=1.2)
    ax.plot(*path[:1].T, "o", color=colour, markersize=10, fillstyle="none")
    ax.plot(0, 0, "+", color="black", markersize=10)
    ax.set_title(f"rate {rate}: {says}", loc="left", fontsize=12)
    second = ", ".join(f"{value:.3g}" for value in path[1])
    ax.set_xlabel(f"(-3.5, -3.5) to ({second}) ...", fontsize=10.5, color=FAINT)
    ax.set(xlim=(-4.4, 4.4), ylim=(-4.4, 4.4), aspect="equal")


def main(picture):
    figure = Figure(figsize=(13, 7.4), dpi=120, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.12))
    above.suptitle("$x^2$ from 10: twenty steps", x=0.008, ha="left", fontsize=14, weight="bold")
    below.suptitle("$x^2 + 2y^2$: twenty steps", x=0.008, ha="left", fontsize=14, weight="bold")
    axes = above.subplots(1, 4)
    draw_parabola(axes[0], 0.01, 20, BLUE, "crawls")
    draw_parabola(axes[1], 0.2, 20, GREEN, "arrives")
    draw_parabola(axes[2], 1, 20, ORANGE, "never settles")
    draw_parabola(axes[3], 1.1, 20, RED, "flies off")
    axes = below.subplots(1, 4)
    draw_valley(axes[0], 0.01, 20, BLUE, "crawls")
    draw_valley(axes[1], 0.1, 20, GREEN, "bends to the middle")
    draw_valley(axes[2], 0.45, 20, ORANGE, "y swings, x is there")
    draw_valley(axes[3], 0.5, 20, RED, "x at once, y never")
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
