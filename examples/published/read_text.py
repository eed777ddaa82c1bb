"""Three networks read a page: where lines are, which way up they stand, and what they say

The first gives every pixel a probability that it belongs to the middle of a line; pixels that touch are one line, whose
box is grown to what the network was taught to shrink. Lines are cut out, turned if the second network finds them upside
down, and the third one gives every few pixels a character, or none. The networks are PP-OCRv4's, ONNX files that
convkit runs.

    python examples/published/read_text.py [read_text.png] [--models FOLDER] [--beside-onnxruntime]

needs `pip install ".[onnx,docs]"` and the networks, `python examples/published/fetch.py rapidocr`;
`make demo-ocr` does both.

M. Liao et al.: Real-time scene text detection with differentiable binarization, AAAI 2020, arXiv:1911.08947;
A. Graves et al.: Connectionist temporal classification, ICML 2006. Boxes are (centre, half sizes, angle) in pixels.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

from convkit.cli._example import picture_name

import matplotlib
import numpy as np
import onnx
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage import data

from convkit import grid_sample, interpolate, onnx_backend

FOLDER = "published/rapidocr-onnxruntime-1.4.4"
NAMES = "ch_PP-OCRv4_det_infer", "ch_ppocr_mobile_v2.0_cls_infer", "ch_PP-OCRv4_rec_infer"
SHORTER_SIDE = 736  # of what the first network is shown, at least; both sides are multiples of 32
TEXT, SURE = 0.3, 0.5  # a pixel is text, a line is one
GROWN = 1.6  # times the area over the circumference, on every side
HEIGHT, STEP = 48, 64  # of a line as the networks take it; widths are multiples of this, so that few differ
MOST = 6  # lines at a time that the second network is shown
RED, FAINT = "#d7301f", "#666666"
COLOURS = "#2166ac", "#1b7837"  # of lines in turn, whose boxes may overlap where a page is bent


class Line(NamedTuple):
    """A line of text: its box, what it says, how sure that is, and whether it stood upside down."""

    centre: np.ndarray
    half: np.ndarray
    angle: float
    text: str = ""
    sure: float = 0.0
    turned: bool = False

    def corners(self):
        """The four corners, (x, y)."""
        along, across = axes(self.angle)
        (a, b), c = self.half, self.centre
        return np.array([c - a * along - b * across, c + a * along - b * across, c + a * along + b * across,
                         c - a * along + b * across])  # fmt: skip


def axes(angle):
    """Unit vectors along a line and across it."""
    return np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])


# ---------------------------------------------------------------- the networks


def convkit_networks(folder):
    """The three networks as functions of a batch."""
    return [onnx_backend.load(file) for file in files(folder)]


def onnxruntime_networks(folder, threads=0):
    """The same, run by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, threads
    sessions = [onnxruntime.InferenceSession(file, options) for file in files(folder)]
    return [lambda x, s=session: s.run(None, {s.get_inputs()[0].name: x})[0] for session in sessions]


def files(folder):
    return [Path(folder) / "rapidocr_onnxruntime" / "models" / f"{name}.onnx" for name in NAMES]


def alphabet(folder):
    """What each class of the third network is: none, then what its file lists, then a blank."""
    listed = {entry.key: entry.value for entry in onnx.load(files(folder)[2]).metadata_props}["character"]
    return ["", *listed.splitlines(), " "]


def normal(pixels):
    """From 0..1 to -1..1, channels from blue to red, as the networks learned them."""
    return np.ascontiguousarray((pixels[:, ::-1] - 0.5) / 0.5, np.float32)


# ---------------------------------------------------------------- reading


def read(networks, characters, picture):
    """The lines of a picture (H, W, 3) of bytes, from top to bottom."""
    detect, orient, recognise = networks
    page = np.ascontiguousarray(picture.transpose(2, 0, 1)[np.newaxis], np.float32) / np.float32(255)
    lines = in_order(found(detect, page))
    crops = [cut(page, line) for line in lines]
    turned = upside_down(orient, crops)
    crops = [crop[..., ::-1, ::-1] if turn else crop for crop, turn in zip(crops, turned, strict=True)]
    said = recognised(recognise, characters, crops)
    lines = [line._replace(text=t, sure=s, turned=u) for line, (t, s), u in zip(lines, said, turned, strict=True)]
    return [line for line in lines if line.text and line.sure > SURE]


def found(detect, page):
    """Boxes of lines: pixels that are text and touch, in the smallest rectangle, grown."""
    sizes = np.array(page.shape[2:])
    scale = max(1, SHORTER_SIDE / sizes.min())
    shown = np.maximum(np.round(sizes * scale / 32), 1).astype(int) * 32
    chances = detect(normal(interpolate(page, tuple(map(int, shown)), mode="bilinear")))[0, 0]
    text = ndimage.binary_dilation(chances > TEXT, np.ones((2, 2)))
    labels, count = ndimage.label(text, np.ones((3, 3)))
    lines = []
    for i, place in enumerate(ndimage.find_objects(labels, count), 1):
        here = labels[place] == i
        if chances[place][here].mean() < SURE:
            continue
        inner = here & ~ndimage.binary_erosion(here)  # the rim is enough
        points = np.argwhere(inner)[:, ::-1] + [place[1].start, place[0].start]
        line = smallest_rectangle((points + 0.5) * (sizes / shown)[::-1])
        if min(line.half) > 2:
            lines.append(line)
    return lines


def smallest_rectangle(points):
    """The least area over all angles of a degree's steps, its longer side along the line, grown."""
    angles = np.deg2rad(np.arange(-45, 45))
    along = points @ np.stack((np.cos(angles), np.sin(angles)))  # (points, angles)
    across = points @ np.stack((-np.sin(angles), np.cos(angles)))
    lo, hi = np.stack((along.min(0), across.min(0))), np.stack((along.max(0), across.max(0)))
    best = np.argmin(np.prod(hi - lo + 1, axis=0))
    u, v = axes(angles[best])
    middle, half = (lo + hi)[:, best] / 2, (hi - lo)[:, best] / 2
    half = half + GROWN * np.prod(half) / half.sum()  # area over circumference is half that
    angle, centre = angles[best], middle[0] * u + middle[1] * v
    if half[1] >= 1.5 * half[0]:  # from top to bottom: turned to lie
        angle, half = angle + np.pi / 2, half[::-1]
    return Line(centre, half, angle)


def in_order(lines):
    """From top to bottom, and from left to right those whose middles lie in each other's height."""
    rows = []
    for line in sorted(lines, key=lambda line: line.centre[1]):
        if rows and abs(line.centre[1] - rows[-1][0].centre[1]) < min(line.half[1], rows[-1][0].half[1]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.centre[0])]


def cut(page, line):
    """The pixels of a box, 48 rows of them."""
    width = max(int(np.ceil(HEIGHT * line.half[0] / line.half[1])), 8)
    along, across = axes(line.angle)
    x = (np.arange(width) + 0.5) / width * 2 - 1
    y = (np.arange(HEIGHT) + 0.5) / HEIGHT * 2 - 1
    places = line.centre + np.multiply.outer(y * line.half[1], across)[:, np.newaxis]
    places = places + np.multiply.outer(x * line.half[0], along)
    places = places / np.array(page.shape[:1:-1]) * 2 - 1  # from pixels to -1..1
    return grid_sample(page, places[np.newaxis].astype(np.float32), padding_mode="border")


def upside_down(orient, crops):
    """Whether each line stands on its head."""
    shown = [crop if crop.shape[3] <= 192 else interpolate(crop, (HEIGHT, 192), mode="bilinear") for crop in crops]
    turned = []
    for i in range(0, len(shown), MOST):
        turned += list(orient(np.concatenate([beside(crop, 192) for crop in shown[i : i + MOST]]))[:, 1] > 0.9)
    return turned


def beside(crop, width):
    """A line with nothing beside it, which is grey, up to a width."""
    padded = np.zeros((1, 3, HEIGHT, width), np.float32)
    padded[..., : crop.shape[3]] = normal(crop)
    return padded


def recognised(recognise, characters, crops):
    """What each line says, and how sure that is."""
    widths = [-(-max(crop.shape[3], 128) // STEP) * STEP for crop in crops]
    return [decoded(characters, recognise(beside(*pair))[0]) for pair in zip(crops, widths, strict=True)]


def decoded(characters, chances):
    """The likeliest class of each place, each said once until another comes, none left out."""
    best = chances.argmax(axis=1)
    kept = (best != 0) & (best != np.concatenate(([0], best[:-1])))
    sure = chances.max(axis=1)[kept]
    return "".join(characters[i] for i in best[kept]), float(sure.mean()) if len(sure) else 0.0


# ---------------------------------------------------------------- pages and pictures

PAGE = (
    (64, 40, 40, "Reading with convolutions"),
    (64, 112, 24, "A kernel slides over the page and sums what it"),
    (64, 148, 24, "covers; 16 channels become 480, and in the end"),
    (64, 184, 24, "6,625 classes: letters, digits, and much besides."),
    (64, 250, 20, "Order no. 2026-11-26/13    Total: $1,234.56"),
    (64, 286, 20, "e-mail: first.last@example.org    (25 % off!)"),
)
UPSIDE_DOWN = "This line stands on its head."


def rendered():
    """A page of several sizes of letters, the last line upside down."""
    folder = Path(matplotlib.__file__).parent / "mpl-data" / "fonts" / "ttf"
    page = Image.new("RGB", (768, 420), (250, 248, 240))
    ink = ImageDraw.Draw(page)
    for x, y, size, text in PAGE:
        name = "DejaVuSans-Bold.ttf" if size > 30 else "DejaVuSans.ttf"
        ink.text((x, y), text, fill=(25, 30, 60), font=ImageFont.truetype(str(folder / name), size))
    strip = Image.new("RGB", (420, 44), (250, 248, 240))
    ImageDraw.Draw(strip).text(
        (8, 6), UPSIDE_DOWN, fill=(120, 20, 20), font=ImageFont.truetype(str(folder / "DejaVuSerif.ttf"), 24)
    )
    page.paste(strip.rotate(180), (330, 346))
    return np.asarray(page)


def photographed():
    """scikit-image's photograph of a page, grey, unevenly lit."""
    return np.repeat(data.page()[:, :, np.newaxis], 3, axis=2)


def show(above, below, picture, lines, title):
    """A page with the boxes of its lines, and below what was read, where it was read."""
    height, width = picture.shape[:2]
    for ax in (above, below):
        ax.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0), aspect="equal", anchor="N")
        ax.spines[:].set(color="lightgrey")
    above.imshow(picture, extent=(0, width, height, 0))
    above.set_title(title, fontsize=11.5, loc="left")
    sure = [round(100 * line.sure) for line in lines]
    below.set_title(f"what was read, every line at least {min(sure)} % sure", fontsize=11.5, loc="left")
    for i, line in enumerate(lines):
        corners, colour = line.corners(), RED if line.turned else COLOURS[i % 2]
        above.fill(*corners.T, facecolor=(colour, 0.12), edgecolor=(colour, 0.8), linewidth=0.8)
        left, right = corners[:, 0].min(), corners[:, 0].max()
        text = below.text(left, line.centre[1], line.text, size=10, va="center", color=colour, parse_math=False)
        drawn = below.transData.inverted().transform(text.get_window_extent())
        text.set_size(10 * (right - left) / (drawn[1, 0] - drawn[0, 0]) * 0.97)  # as wide as it was


def draw(path, pages):
    """Two pages side by side, each above what was read on it."""
    figure = Figure(figsize=(12.4, 7.3), dpi=130)
    grid = figure.subplots(2, 2)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.96, bottom=0.03, wspace=0.03, hspace=0.1)
    for (above, below), (title, picture, lines, seconds) in zip(grid.T, pages, strict=True):
        show(above, below, picture, lines, f"{title}: {len(lines)} lines in {1000 * seconds:.0f} ms")
    credit = "PP-OCRv4 in convkit; lines blue and green in turn, red where upside down; photograph from scikit-image"
    figure.text(0.5, 0.01, credit, fontsize=9, color=FAINT, ha="center")
    figure.savefig(path)


def timed(networks, characters, picture):
    """The lines, and the least of the seconds that reading took, of three times after one."""
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        lines = read(networks, characters, picture)
        seconds.append(time.perf_counter() - begin)
    return lines, min(seconds[1:])


def main():
    parser = argparse.ArgumentParser(description="Read a rendered page, and scikit-image's photograph of one.")
    parser.add_argument("picture", nargs="?", default="read_text.png", type=picture_name, help="default: %(default)s")
    parser.add_argument("--models", default=FOLDER, metavar="FOLDER")
    parser.add_argument("--beside-onnxruntime", action="store_true", help="have ONNX Runtime read the same")
    options = parser.parse_args()
    characters, networks, pages = alphabet(options.models), convkit_networks(options.models), []
    for title, picture in (("a rendered page", rendered()), ("a photographed page", photographed())):
        lines, seconds = timed(networks, characters, picture)
        pages.append((title, picture, lines, seconds))
        print(f"{title}, {1000 * seconds:.0f} ms:")
        for line in lines:
            print(f"  {100 * line.sure:3.0f} %  {line.text}{'  (was upside down)' if line.turned else ''}")
        if options.beside_onnxruntime:
            others, theirs = timed(onnxruntime_networks(options.models), characters, picture)
            same = [line.text for line in lines] == [line.text for line in others]
            print(f"  ONNX Runtime: {'the same' if same else 'another'} text, {1000 * theirs:.0f} ms")
    Path(options.picture).parent.mkdir(parents=True, exist_ok=True)
    draw(options.picture, pages)
    print(f"written: {options.picture}")


if __name__ == "__main__":
    main()
