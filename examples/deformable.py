"""Deformable convolution: the kernel goes where the picture tells it to

Each output moves its nine sampling points by offsets of its own, read between pixels. Here the offsets are not
learned but made from the photograph: points strung along the nearest edge smooth fur without blurring it, points that
close up over detail spare the eyes; with a mask (version 2) each point also has a weight, and what differs from the
centre is left out.

    python examples/deformable.py [deformable.png]

needs `pip install ".[docs]"`

J. Dai et al.: Deformable convolutional networks, ICCV 2017, arXiv:1703.06211; X. Zhu et al.: Deformable ConvNets v2,
CVPR 2019, arXiv:1811.11168.
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage import data

from convkit import conv2d, deform_conv2d, grid_sample

INK, FAINT = "#222222", "#666666"
DILATION = 3
TAPS = np.array([(i, j) for i in (-1.0, 0, 1) for j in (-1.0, 0, 1)]) * DILATION  # where the plain kernel's points lie
MEAN = np.full((1, 1, 3, 3), 1 / 9)  # the kernel: nine equal weights, throughout
PHOTO, EYE = (8, 8, 230, 202), (28, 24, 118, 103)  # left, top, right and bottom of what is shown
SHOWN = [(y, x) for y in range(33, 103, 15) for x in range(36, 118, 15)]  # outputs whose points are drawn


def filtered(image, kernel, sigma=None):
    """(H, W) correlated with a kernel, or smoothed by a Gaussian."""
    if sigma is not None:
        line = np.exp(-(np.arange(-3 * sigma, 3 * sigma + 1) ** 2) / (2 * sigma**2))
        kernel = np.outer(line, line) / line.sum() ** 2
    return conv2d(image[np.newaxis], kernel[np.newaxis, np.newaxis], padding="same", padding_mode="replicate")[0]


def edges(image):
    """Slope of the grey values along y and x."""
    sobel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    return filtered(image, sobel.T), filtered(image, sobel)


def along_edges(image):
    """(9, 2, H, W): nine points in line, in the direction in which the image changes least around the pixel."""
    dy, dx = edges(image)
    yy, xx, xy = (filtered(product, None, sigma=2) for product in (dy * dy, dx * dx, dx * dy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    steps = 1.5 * np.arange(-4, 5)[:, np.newaxis, np.newaxis, np.newaxis]
    return steps * np.stack([np.sin(angle), np.cos(angle)])


def by_detail(image):
    """(9, 2, H, W): the plain grid, drawn together where there is much to see and wider where there is little."""
    strength = filtered(np.hypot(*edges(image)), None, sigma=4)
    scale = 1.9 * np.exp(-strength / np.quantile(strength, 0.5))
    return TAPS[:, :, np.newaxis, np.newaxis] * scale


def likeness(image, points):
    """(9, H, W): 1 for points as bright as the centre, towards 0 for others; of mean 1 over the nine."""
    height, width = image.shape
    at = np.indices(image.shape) + points
    grid = np.stack([2 * at[:, 1] / (width - 1) - 1, 2 * at[:, 0] / (height - 1) - 1], axis=-1)
    options = {"padding_mode": "border", "align_corners": True}
    seen = grid_sample(np.broadcast_to(image, (9, 1, height, width)), grid, **options)[:, 0]
    alike = np.exp(-(((seen - image) / 0.06) ** 2))
    return 9 * alike / alike.sum(axis=0)


def smoothed(photo, points, mask):
    """Three times the mean of nine points, by deformable convolution of each colour."""
    height, width = photo.shape[1:]
    offset = (points - TAPS[:, :, np.newaxis, np.newaxis]).reshape(1, 18, height, width)
    offset = np.broadcast_to(offset, (3, 18, height, width))
    if mask is not None:
        mask = np.broadcast_to(mask, (3, 9, height, width))
    image = photo[:, np.newaxis]  # colours as a batch
    for _ in range(3):
        image = deform_conv2d(image, offset, MEAN, padding=DILATION, dilation=DILATION, mask=mask)
    return image[:, 0]


def show(ax, photo, box):
    left, top, right, bottom = box
    ax.imshow(np.clip(photo, 0, 1).transpose(1, 2, 0))
    ax.set(xticks=[], yticks=[], xlim=(left - 0.5, right - 0.5), ylim=(bottom - 0.5, top - 0.5))
    ax.spines[:].set_visible(False)


def draw_points(ax, photo, points, mask):
    """A part of the photograph, paled, and the points of some outputs; a point's area is its mask."""
    show(ax, 0.4 + 0.6 * photo, EYE)
    for y, x in SHOWN:
        area = 11.0 if mask is None else 11 * mask[:, y, x]
        ax.scatter(x + points[:, 1, y, x], y + points[:, 0, y, x], area, color="#b2182b", linewidths=0)
        ax.plot(x, y, "+", color="#0b3c6f", markersize=7, markeredgewidth=1.4)


def main(picture):
    photo = data.chelsea()[45:255, 95:333].transpose(2, 0, 1) / 255
    grey = photo.mean(axis=0)
    plain = np.broadcast_to(TAPS[:, :, np.newaxis, np.newaxis], (9, 2, *grey.shape))
    kinds = (
        ("plain: a fixed grid", plain, None),
        ("offsets along edges", along_edges(grey), None),
        ("offsets by amount of detail", by_detail(grey), None),
        ("no offsets, mask by likeness", plain, likeness(grey, plain)),
    )
    figure = Figure(figsize=(13, 6.6), dpi=130, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    axes = figure.subplots(2, 4)
    for (title, points, mask), (above, below) in zip(kinds, axes.T, strict=True):
        draw_points(above, photo, points, mask)
        above.set_title(title, fontsize=13, loc="left", color=INK)
        rectangle = Rectangle(EYE[:2], EYE[2] - EYE[0], EYE[3] - EYE[1], fill=False, edgecolor="white", linewidth=1)
        below.add_patch(rectangle)
        show(below, smoothed(photo, points, mask), PHOTO)
    axes[0, 0].set_ylabel("where 30 outputs (+) look", fontsize=12, color=FAINT)
    axes[1, 0].set_ylabel("mean of the points, three times", fontsize=12, color=FAINT)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
