"""Convolution is a matrix

Every output is a weighted sum of inputs, so a convolution is a matrix: the kernel's few weights, again and again,
along its diagonals. Its transpose is transposed convolution, and padding, dilation, layout and groups each leave a
pattern.

    python examples/conv_matrix.py [conv_matrix.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from convkit.analysis import conv_matrix

WIDTH, HEIGHT = 13.2, 13.2  # inches, as all positions below; y counts from the bottom
INK, FAINT, LINE = "#222222", "#666666", "#c8c8c8"

# A hue for each row of the kernel and a shade for each column: the colour of an entry says which weight it is.
COLOURS = [
    tuple(shade * part + 1 - shade for part in to_rgb(hue))
    for hue in ("#b2182b", "#d9780f", "#2166ac")
    for shade in (1.0, 0.72, 0.46)
]
TAPS = np.arange(1.0, 10.0).reshape(3, 3)  # the kernel: an entry's value is then its weight's number
KERNEL = TAPS.reshape(1, 1, 3, 3)


def axes_at(figure, left, bottom, width, height):
    """Axes of so many inches, without frame or ticks."""
    ax = figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))
    ax.axis("off")
    return ax


def board(figure, left, middle, values, cell=0.42, text=None):
    """A board of square cells, coloured by weight number (0: none) and labelled with it, or with `text`."""
    rows, columns = values.shape
    ax = axes_at(figure, left, middle - rows * cell / 2, columns * cell, rows * cell)
    ax.set(xlim=(0, columns), ylim=(rows, 0))
    for (i, j), number in np.ndenumerate(values.astype(int)):
        face = COLOURS[number - 1] if number else "white"
        ax.add_patch(Rectangle((j, i), 1, 1, facecolor=face, edgecolor=LINE, linewidth=0.6, clip_on=False))
        label = (number or "") if text is None else text[i][j]
        white = number and (number - 1) % 3 < 2
        size = 22 * cell if text is None else 24 * cell
        ax.text(j + 0.5, i + 0.52, label, ha="center", va="center", fontsize=size, color="white" if white else INK)
    return ax


def frame(ax, x, y, width, height):
    ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=INK, linewidth=2, clip_on=False, zorder=3))


def write(figure, x, y, text, size=10.5, color=INK, **options):
    figure.text(x / WIDTH, y / HEIGHT, text, fontsize=size, color=color, **{"va": "center", **options})


def names(letter, rows, columns):
    """Labels of an image's elements in the order in which they make a vector."""
    return [[f"${letter}_{{{i * columns + j}}}$" for j in range(columns)] for i in range(rows)]


def draw_forward(figure, matrix):
    """The kernel on the image; the matrix, with the vectors it stands between; the output."""
    middle = 11.35
    write(figure, 0.4, middle + 1.35, "y = C x", 15, weight="bold")
    write(figure, 1.55, middle + 1.35, "a row of C for each output: the kernel, where its window lies")
    board(figure, 0.4, middle, TAPS)
    image = board(figure, 2.05, middle, np.zeros((4, 4)), text=names("x", 4, 4))
    frame(image, 1, 0, 3, 3)
    c = board(figure, 4.55, middle, matrix)
    frame(c, 0, 1, 16, 1)
    for j in range(16):
        c.text(j + 0.5, -0.3, f"$x_{{{j}}}$", ha="center", va="center", fontsize=8.5, color=FAINT)
    for i in range(4):
        c.text(-0.2, i + 0.5, f"$y_{i}$", ha="right", va="center", fontsize=10.5, color=INK)
    output = board(figure, 11.95, middle, np.zeros((2, 2)), text=names("y", 2, 2))
    frame(output, 1, 0, 1, 1)
    for x in (4.0, 11.63):
        write(figure, x, middle, r"$\rightarrow$", 18, ha="center")
    for x, label in (
        (1.03, "kernel"),
        (2.89, "4x4"),
        (7.91, "conv_matrix(conv2d, (1, 4, 4), kernel): 4x16"),
        (12.37, "2x2"),
    ):
        write(figure, x, middle - 1.05, label, 10, FAINT, ha="center")


def draw_transpose(figure, matrix):
    """What the transpose does to a 2x2 image: four copies of the kernel, added up."""
    middle, cell = 8.2, 0.39
    write(figure, 0.4, middle + 1.35, r"$\mathbf{C^T}$ y", 15, weight="bold")
    text = "takes 2x2 back to 4x4, which is transposed convolution: every $y_i$ puts a copy of the kernel into "
    text += "the output, and copies that overlap are added"
    write(figure, 1.55, middle + 1.35, text)
    board(figure, 0.4, middle, np.zeros((2, 2)), text=names("y", 2, 2))
    write(figure, 1.6, middle, r"$\rightarrow$", 18, ha="center")
    for i, row in enumerate(matrix):
        left = 2.3 + i * 2.19
        write(figure, left - 0.1, middle, f"$y_{i}$" if i == 0 else f"+ $y_{i}$", 13, ha="right")
        board(figure, left, middle, row.reshape(4, 4), cell)
    write(figure, 10.84, middle, "=", 18, ha="center")
    ax = axes_at(figure, 11.2, middle - 2 * cell, 4 * cell, 4 * cell)
    ax.set(xlim=(0, 4), ylim=(4, 0))
    for (i, j), count in np.ndenumerate((matrix != 0).sum(axis=0).reshape(4, 4)):
        grey = 1 - 0.17 * count
        ax.add_patch(Rectangle((j, i), 1, 1, facecolor=(grey,) * 3, edgecolor="white", linewidth=0.8))
        ax.text(j + 0.5, i + 0.52, count, ha="center", va="center", fontsize=9.5, color="white" if count > 2 else INK)
    write(figure, 11.2 + 2 * cell, middle - 1.05, "copies that overlap", 10, FAINT, ha="center")
    write(figure, 6.37, middle - 1.05, "each copy is a row of C, put back into 4x4", 10, FAINT, ha="center")


def gallery():
    """(title, matrix) of eight convolutions of the same kernel."""
    many = np.broadcast_to(TAPS, (2, 2, 3, 3)).copy()
    split = np.broadcast_to(TAPS, (4, 2, 3, 3)).copy()
    alone = np.broadcast_to(TAPS, (4, 1, 3, 3)).copy()
    same = {"padding": "same"}
    return (
        ('padding="same"', conv_matrix("conv2d", (1, 8, 8), KERNEL, **same)),
        ('padding_mode="circular"', conv_matrix("conv2d", (1, 8, 8), KERNEL, **same, padding_mode="circular")),
        ("dilation=2", conv_matrix("conv2d", (1, 8, 8), KERNEL, **same, dilation=2)),
        ("transposed, stride=2", conv_matrix("conv_transpose2d", (1, 4, 4), KERNEL, stride=2, padding="same")),
        ('2 channels, "NCHW"', conv_matrix("conv2d", (2, 5, 5), many, **same)),
        ('2 channels, "NHWC"', conv_matrix("conv2d", (5, 5, 2), many, **same, layout="NHWC")),
        ("4 channels, groups=2", conv_matrix("conv2d", (4, 4, 4), split, **same, groups=2)),
        ("depthwise, groups=4", conv_matrix("conv2d", (4, 4, 4), alone, **same, groups=4)),
    )


def draw_gallery(figure):
    """Larger matrices, dot by dot."""
    top, size = 6.25, 2.5
    write(figure, 0.4, top + 0.1, "larger", 15, weight="bold")
    write(figure, 1.55, top + 0.1, "the same nine weights, outputs down, inputs across: bands within bands")
    colours = ListedColormap(COLOURS)
    for k, (title, matrix) in enumerate(gallery()):
        rows, columns = matrix.shape
        row, column = divmod(k, 4)
        ax = axes_at(figure, 0.4 + 3.3 * column, top - 3 - 2.95 * row, size * columns / rows, size)
        ax.axis("on")
        entries = np.ma.masked_equal(matrix.toarray(), 0)
        ax.imshow(entries, cmap=colours, vmin=0.5, vmax=9.5, interpolation="nearest", aspect="auto")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color=LINE, linewidth=0.8)
        ax.set_title(f"{title}   {rows}x{columns}", fontsize=10, color=INK, pad=4, loc="left")


def main(picture):
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=120, facecolor="white")
    matrix = conv_matrix("conv2d", (1, 4, 4), KERNEL).toarray()
    draw_forward(figure, matrix)
    draw_transpose(figure, matrix)
    draw_gallery(figure)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
