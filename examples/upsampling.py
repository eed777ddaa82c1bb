"""Four ways to enlarge a photograph

Every way of up-sampling gives each small pixel a footprint in the large image. Repeating pixels, bilinear and bicubic
have fixed ones; a transposed convolution's kernel is its footprint, so it can be any of these, or one that was
learned: here by least squares, from another photograph.

    python examples/upsampling.py [upsampling.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure
from skimage import data

from convkit import avg_pool2d, conv_transpose2d, conv_transpose2d_backward, interpolate

INK, FAINT = "#222222", "#666666"
TIMES, KERNEL = 4, 20  # how much larger; the learned kernel's side
PADDING = (KERNEL - TIMES) // 2


def enlarged(small, weight):
    """By transposed convolution. The mean is taken out meanwhile, for zeros to be a fair guess beyond the edge."""
    mean = small.mean()
    return conv_transpose2d(small - mean, weight, stride=TIMES, padding=PADDING) + mean


def learned_kernel(small, large, steps=20):
    """The kernel whose enlargement of `small` is nearest to `large`: least squares, by conjugate gradients."""
    mean, options = small.mean(), {"stride": TIMES, "padding": PADDING}
    small, missing = small - mean, large - mean
    weight = np.zeros((1, 1, KERNEL, KERNEL))
    direction, before = 0.0, np.inf
    for _ in range(steps):
        gradient = conv_transpose2d_backward(missing, small, weight, **options, need="weight").weight
        size = (gradient**2).sum()
        direction = gradient + size / before * direction
        answer = conv_transpose2d(small, direction, **options)
        length = size / (answer**2).sum()
        weight, missing, before = weight + length * direction, missing - length * answer, size
    return weight


def fidelity(image, truth):
    """Peak signal-to-noise ratio in decibels, without the edge."""
    inner = (..., slice(8, -8), slice(8, -8))
    return -10 * np.log10(((image - truth)[inner] ** 2).mean())


def colours_of(photo):
    """(3, 1, H, W): a photograph's colours as a batch, cut to whole blocks of TIMES pixels."""
    height, width, _ = photo.shape
    photo = photo[: height // TIMES * TIMES, : width // TIMES * TIMES]
    return photo.transpose(2, 0, 1)[:, np.newaxis] / 255


def draw_photo(ax, image, title, note):
    """The part of the photograph with the head."""
    ax.imshow(np.clip(image[:, 0, 4:204, 120:316], 0, 1).transpose(1, 2, 0))
    ax.set_title(title, fontsize=13, loc="left", color=INK)
    ax.set_xlabel(note, fontsize=12, color=INK)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_footprint(above, below, enlarge):
    """What a single pixel of brightness 1 becomes, from above and cut through its middle."""
    point = np.zeros((1, 1, 27, 27))
    point[..., 13, 13] = 1
    image = enlarge(point)[0, 0, 10 * TIMES : 17 * TIMES, 10 * TIMES : 17 * TIMES]
    above.imshow(image, cmap="RdBu_r", vmin=-1, vmax=1, extent=(-3.5, 3.5, -3.5, 3.5))
    above.set(xticks=[], yticks=[])
    above.set_xticks(np.arange(-2.5, 3), minor=True)
    above.set_yticks(np.arange(-2.5, 3), minor=True)
    above.grid(which="minor", color="#dddddd", linewidth=0.6)
    above.tick_params(which="both", length=0)
    above.spines[:].set(color="lightgrey")
    section = image[13:15].mean(axis=0)  # the two rows beside the middle
    below.stairs(section, np.linspace(-3.5, 3.5, len(section) + 1), baseline=0, fill=True, color="#6f9fcb")
    below.axhline(0, color=FAINT, linewidth=0.8)
    below.set(xlim=(-3.5, 3.5), ylim=(-0.35, 1.35), xticks=np.arange(-3, 4), yticks=(0, 1))
    first = above.get_subplotspec().is_first_col()
    below.tick_params(labelsize=9.5, left=first, labelleft=first)  # in each, they would push the columns apart
    below.spines[["top", "right"]].set_visible(False)


def main(picture):
    coffee, large = colours_of(data.coffee()), colours_of(data.astronaut())
    small, weight = avg_pool2d(large, TIMES), learned_kernel(avg_pool2d(coffee, TIMES), coffee)
    ways = {
        "nearest": lambda x: interpolate(x, scale_factor=TIMES),
        "bilinear": lambda x: interpolate(x, scale_factor=TIMES, mode="bilinear"),
        "bicubic": lambda x: interpolate(x, scale_factor=TIMES, mode="bicubic"),
        "transposed, learned": lambda x: enlarged(x, weight),
    }
    figure = Figure(figsize=(13.5, 7.6), dpi=130, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    axes = figure.subplots(3, 5, height_ratios=(2.7, 2, 0.8))
    for column, (name, enlarge) in zip(axes.T, ways.items(), strict=False):
        image = enlarge(small)
        draw_photo(column[0], image, name, f"{fidelity(image, large):.1f} dB")
        draw_footprint(column[1], column[2], enlarge)
    draw_photo(axes[0, 4], large, "the original", "reduced by means of 4x4")
    axes[1, 0].set_ylabel("what one pixel becomes", fontsize=11.5, color=FAINT)
    axes[2, 0].set_ylabel("cut", fontsize=11.5, color=FAINT)
    note = (
        "dB: peak signal-to-noise ratio\nof the whole photograph\n\n"
        "the kernel was learned from\nanother photograph\n\n"
        "red: above 0,  blue: below 0;\ngrid: pixels of the small image"
    )
    axes[1, 4].text(0, 0.5, note, va="center", fontsize=11, color=FAINT, transform=axes[1, 4].transAxes)
    for ax in axes[1:, 4]:
        ax.axis("off")
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
