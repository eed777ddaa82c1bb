"""Nine numbers make a blur, a sharpener or an edge detector

A filter slides a small kernel over the photograph and sums what lies under it, each pixel times its weight.
Convolutional networks correlate: the kernel is laid on as it is. Mathematical convolution turns it by 180 degrees
first; in convkit that is a view, weight[..., ::-1, ::-1].

    python examples/classic_filters.py [classic_filters.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure
from skimage import data

from convkit import conv2d

RED, BLUE, FAINT = "#b2182b", "#2166ac", "#666666"

FILTERS = {  # kernel, what it is divided by, and whether its answers have a sign
    "as it is": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1, False),
    "blur, three times": ([[1, 2, 1], [2, 4, 2], [1, 2, 1]], 16, False),
    "sharpen": ([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], 1, False),
    "Laplace: spots and lines": ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1, True),
    "Sobel: left to right": ([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], 4, True),
    "Sobel: top to bottom": ([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], 4, True),
}
EMBOSS = [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]]
LETTER = [[0, 1, 1, 1, 0], [0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]


def correlate(image, kernel):
    """A grey image filtered, its edge repeated outwards."""
    weight = np.asarray(kernel, np.float32)[np.newaxis, np.newaxis]
    return conv2d(image[np.newaxis], weight, padding="same", padding_mode="replicate")[0]


def convolve(image, kernel):
    """The same with the kernel turned by 180 degrees."""
    return correlate(image, np.asarray(kernel)[::-1, ::-1])


def show(ax, image, title, signed=False):
    """An image in grey; with signs, 0 is white, less is blue and more is red, up to the strongest few in a thousand."""
    bound = np.quantile(np.abs(image), 0.996)
    colours = {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound} if signed else {"cmap": "gray", "vmin": 0, "vmax": 1}
    ax.imshow(image, **colours)
    ax.set_title(title, fontsize=11.5, loc="left")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color="lightgrey")


def show_kernel(photo_axes, kernel, divisor=1, size=11):
    """The numbers of a 3x3 kernel, in the photograph's lower left corner."""
    ax = photo_axes.inset_axes((0.025, 0.035, 0.3, 0.4))
    ax.set(xlim=(-0.6, 2.6), ylim=(2.6 if divisor == 1 else 3.3, -0.6), xticks=[], yticks=[])
    ax.spines[:].set(color="lightgrey")
    for (i, j), weight in np.ndenumerate(np.asarray(kernel)):
        colour = FAINT if weight == 0 else RED if weight > 0 else BLUE
        ax.text(j, i, f"{weight}".replace("-", "\N{MINUS SIGN}"), ha="center", va="center", fontsize=size, color=colour)
    if divisor > 1:
        ax.text(1, 2.9, f"divided by {divisor}", ha="center", va="center", fontsize=8.5, color=FAINT)


def draw_filters(figure, photo):
    """Six filters, each with its kernel's numbers."""
    for ax, (title, (kernel, divisor, signed)) in zip(figure.subplots(2, 3).flat, FILTERS.items(), strict=True):
        filtered = photo
        for _ in range(3 if "three times" in title else 1):
            filtered = correlate(filtered, np.asarray(kernel) / divisor)
        show(ax, filtered, title, signed)
        show_kernel(ax, kernel, divisor)


def draw_flip(figure, photo):
    """Correlation and convolution of a point and of the photograph."""
    point = np.zeros((9, 9), np.float32)
    point[4, 4] = 1
    images = (
        (np.pad(LETTER, 2), "a kernel"),
        (correlate(point, LETTER), "a point, correlated"),
        (convolve(point, LETTER), "a point, convolved"),
        (0.5 + correlate(photo, EMBOSS) / 4, "correlated"),
        (0.5 + convolve(photo, EMBOSS) / 4, "convolved"),
    )
    axes = figure.subplots(1, 5, width_ratios=[image.shape[1] / image.shape[0] for image, _ in images])
    for ax, (image, title) in zip(axes, images, strict=True):
        show(ax, image, title)
    show_kernel(axes[3], EMBOSS, size=8.5)


def main(picture):
    photo = (data.camera()[40:250, 90:370] / 255).astype(np.float32)
    figure = Figure(figsize=(11, 8.9), dpi=130, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.07)
    filters, flip = figure.subfigures(2, 1, height_ratios=(6.2, 2.5))
    draw_filters(filters, photo)
    flip.suptitle("Correlation lays the kernel on as it is, convolution turns it by 180 degrees", fontsize=13)
    draw_flip(flip, photo)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
