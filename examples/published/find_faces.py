"""Three small networks find a face, each asked only where the one before it has seen something

The first is slid over the photograph in many sizes and says where a face might be; the second and the third look at
these places again, enlarged, and move the box. The last one also points at eyes, nose and mouth. The networks are
MTCNN's, as layers of convkit, with the weights that were published for PyTorch.

    python examples/published/find_faces.py [find_faces.png] [--weights FOLDER]

needs `pip install ".[docs]"` and the weights, `python examples/published/fetch.py facenet`; `make demo-faces`
does both.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao: Joint face detection and alignment using multitask cascaded convolutional networks,
2016, arXiv:1604.02878. Boxes are pixels, (left, top, right, bottom).
"""

import argparse
import time
from pathlib import Path

from convkit.cli._example import picture_name

import numpy as np
from matplotlib.figure import Figure
from skimage import data

from convkit import adaptive_avg_pool2d, nn

FOLDER = "published/facenet-pytorch-2.6.0"
SMALLEST = 20  # pixels, of a face that is looked for
SHRINK = 0.709  # from one size of the photograph to the next, whose area is half
LIKELY = 0.6, 0.7, 0.7  # what each network must say
RED, ORANGE, PALE = "#d7301f", "#fdae61", "#fee8c8"


# ---------------------------------------------------------------- the networks


class Stage(nn.Module):
    """Layers one after the other, then heads side by side: how likely a face is, how its box moves, and more."""

    def __init__(self, trunk, heads):
        self._trunk, self._heads = list(trunk), list(heads)
        vars(self).update(trunk | heads)  # under the names that the weights have

    def run(self, x):
        for name in self._trunk:
            x = getattr(self, name)(x)
        face, *others = (getattr(self, name)(x) for name in self._heads)
        return (nn.Softmax(dim=1)(face), *others), None  # for evaluation alone: there is no way back


class ColumnsFirst(nn.Module):
    """A map as one row, column by column, as the weights have it."""

    def run(self, x):
        return nn.Flatten()(x.transpose(0, 3, 2, 1)), None


def proposals():
    """12x12 pixels; slid over a photograph, as convolution is."""
    trunk = {"conv1": nn.Conv2d(3, 10, 3), "prelu1": nn.PReLU(10), "pool1": nn.MaxPool2d(2, 2, ceil_mode=True)}
    trunk |= {"conv2": nn.Conv2d(10, 16, 3), "prelu2": nn.PReLU(16)}
    trunk |= {"conv3": nn.Conv2d(16, 32, 3), "prelu3": nn.PReLU(32)}
    return Stage(trunk, {"conv4_1": nn.Conv2d(32, 2, 1), "conv4_2": nn.Conv2d(32, 4, 1)})


def refinement():
    """24x24 pixels."""
    trunk = {"conv1": nn.Conv2d(3, 28, 3), "prelu1": nn.PReLU(28), "pool1": nn.MaxPool2d(3, 2, ceil_mode=True)}
    trunk |= {"conv2": nn.Conv2d(28, 48, 3), "prelu2": nn.PReLU(48), "pool2": nn.MaxPool2d(3, 2, ceil_mode=True)}
    trunk |= {"conv3": nn.Conv2d(48, 64, 2), "prelu3": nn.PReLU(64)}
    trunk |= {"row": ColumnsFirst(), "dense4": nn.Linear(576, 128), "prelu4": nn.PReLU(128)}
    return Stage(trunk, {"dense5_1": nn.Linear(128, 2), "dense5_2": nn.Linear(128, 4)})


def output():
    """48x48 pixels; five points, too."""
    trunk = {"conv1": nn.Conv2d(3, 32, 3), "prelu1": nn.PReLU(32), "pool1": nn.MaxPool2d(3, 2, ceil_mode=True)}
    trunk |= {"conv2": nn.Conv2d(32, 64, 3), "prelu2": nn.PReLU(64), "pool2": nn.MaxPool2d(3, 2, ceil_mode=True)}
    trunk |= {"conv3": nn.Conv2d(64, 64, 3), "prelu3": nn.PReLU(64), "pool3": nn.MaxPool2d(2, 2, ceil_mode=True)}
    trunk |= {"conv4": nn.Conv2d(64, 128, 2), "prelu4": nn.PReLU(128)}
    trunk |= {"row": ColumnsFirst(), "dense5": nn.Linear(1152, 256), "prelu5": nn.PReLU(256)}
    heads = {"dense6_1": nn.Linear(256, 2), "dense6_2": nn.Linear(256, 4), "dense6_3": nn.Linear(256, 10)}
    return Stage(trunk, heads)


def load(folder):
    """The three networks, with their weights."""
    networks = []
    for make, name in ((proposals, "pnet"), (refinement, "rnet"), (output, "onet")):
        network = make()
        network.load_state_dict(nn.load_state(Path(folder) / "facenet_pytorch" / "data" / f"{name}.pt"))
        networks.append(network.eval())
    return networks


# ---------------------------------------------------------------- boxes


def strongest(boxes, scores, overlap, of_smaller=False):
    """Indices of boxes, the likeliest first, without those that lie over a likelier one by more than a share."""
    left, kept, area = scores.argsort()[::-1], [], (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        lo, hi = np.maximum(boxes[first, :2], boxes[left, :2]), np.minimum(boxes[first, 2:], boxes[left, 2:])
        common = np.prod(np.maximum(hi - lo, 0), axis=1)
        whole = np.minimum(area[first], area[left]) if of_smaller else area[first] + area[left] - common
        left = left[common <= overlap * whole]
    return np.array(kept, int)


def moved(boxes, shift, extra=1):
    """Boxes whose edges are moved by shares of their size."""
    sizes = boxes[:, 2:] - boxes[:, :2] + extra
    return boxes + shift * np.tile(sizes, 2)


def squares(boxes):
    """Squares about the same centres, as long as the longer side."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate((centre - half, centre + half), axis=1)


def cut(photo, boxes, size):
    """What is in each box, in one size; each pixel of it is the mean of those that it covers."""
    h, w = photo.shape[2:]
    crops, inside = [], []
    for k, (x0, y0, x1, y1) in enumerate(np.trunc(boxes).astype(int)):
        x0, y0, x1, y1 = max(x0, 1), max(y0, 1), min(x1, w), min(y1, h)
        if x1 >= x0 and y1 >= y0:
            crops.append(adaptive_avg_pool2d(photo[:, :, y0 - 1 : y1, x0 - 1 : x1], size))
            inside.append(k)
    return np.concatenate(crops), boxes[inside]


# ---------------------------------------------------------------- the cascade


def normal(pixels):
    """From 0..255 to about -1..1."""
    return ((pixels - 127.5) / 128).astype(np.float32)


def proposed(network, photo):
    """Boxes that the first network sees in the photograph in all sizes."""
    h, w = photo.shape[2:]
    scale, boxes, scores = 12 / SMALLEST, [np.zeros((0, 4))], [np.zeros(0)]
    while min(h, w) * scale >= 12:
        small = adaptive_avg_pool2d(photo, (int(h * scale + 1), int(w * scale + 1)))
        face, shift = network.predict(normal(small))
        rows, columns = np.nonzero(face[0, 1] >= LIKELY[0])
        corner = 2 * np.stack((columns, rows), axis=1)
        found = np.floor(np.concatenate((corner + 1, corner + 12), axis=1) / scale)
        sure = face[0, 1, rows, columns]
        kept = strongest(found, sure, 0.5)
        boxes.append(moved(found, shift[0][:, rows, columns].T, 0)[kept])
        scores.append(sure[kept])
        scale *= SHRINK
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    return boxes[strongest(boxes, scores, 0.7)]


def find(networks, picture):
    """Faces in a picture (H, W, 3) of bytes.

    Returns
    -------
    boxes : (faces, 4), scores : (faces,), points : (faces, 5, 2)
        Eyes, nose, corners of the mouth, as (x, y).
    stages : list of (n, 4)
        What each network left over.
    """
    first, second, third = networks
    photo = np.ascontiguousarray(picture.transpose(2, 0, 1)[np.newaxis], np.float32)
    boxes, stages = proposed(first, photo), []
    scores, points = np.zeros(len(boxes)), np.zeros((len(boxes), 5, 2))
    for network, size, likely in ((second, 24, LIKELY[1]), (third, 48, LIKELY[2])):
        stages.append(boxes)
        if len(boxes) == 0:
            break
        crops, boxes = cut(photo, squares(boxes), size)
        face, shift, *marks = network.predict(normal(crops))
        sure = face[:, 1] > likely
        boxes, scores, shift = boxes[sure], face[sure, 1], shift[sure]
        places = marks[0][sure].reshape(-1, 2, 5).transpose(0, 2, 1) if marks else np.zeros((len(boxes), 5, 2))
        points = boxes[:, np.newaxis, :2] - 1 + places * (boxes[:, np.newaxis, 2:] - boxes[:, np.newaxis, :2] + 1)
        if marks:  # the last network's boxes are moved before they are compared, the second's after
            boxes = moved(boxes, shift)
        kept = strongest(boxes, scores, 0.7, of_smaller=bool(marks))
        boxes, scores, points = boxes[kept], scores[kept], points[kept]
        if not marks:
            boxes = moved(boxes, shift[kept])
    return boxes, scores, points, [*stages, boxes]


# ---------------------------------------------------------------- the picture


def frame(ax, box, colour, width):
    x0, y0, x1, y1 = box
    ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, linewidth=width)


def draw(path, picture, found, seconds):
    boxes, scores, points, stages = found
    figure = Figure(figsize=(12.4, 4.6), dpi=130, layout="constrained")
    titles = (
        f"1. {len(stages[0])} places where a face might be", f"2. looked at again: {len(stages[1])} are left",
        f"3. and once more: {len(boxes)}, with its points" if len(boxes) == 1 else f"3. and once more: {len(boxes)}",
    )  # fmt: skip
    for ax, title, left, colour in zip(figure.subplots(1, 3), titles, stages, (ORANGE, ORANGE, RED), strict=True):
        ax.imshow(picture)
        ax.set(xticks=[], yticks=[], xlim=(-0.5, picture.shape[1] - 0.5), ylim=(picture.shape[0] - 0.5, -0.5))
        ax.set_title(title, fontsize=11.5, loc="left")
        ax.spines[:].set(color="lightgrey")
        for box in left:
            frame(ax, box, colour, 2.2 if colour == RED else 0.9)
    for box, score in zip(boxes, scores, strict=True):
        ax.text(
            box[2] + 6, box[1], f"{100 * score:.1f} %", va="top", fontsize=11,
            bbox={"boxstyle": "square,pad=0.25", "facecolor": "white", "edgecolor": RED, "linewidth": 0.8},
        )  # fmt: skip
    ax.scatter(points[..., 0], points[..., 1], s=16, color=PALE, edgecolor=RED, linewidth=0.9, zorder=3)
    figure.supxlabel(
        f"MTCNN in {1000 * seconds:.0f} ms; the astronaut Eileen Collins, photographed by NASA, from scikit-image",
        fontsize=9, color="#666666",
    )  # fmt: skip
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description="Find the face in scikit-image's photograph of an astronaut.")
    parser.add_argument("picture", nargs="?", default="find_faces.png", type=picture_name, help="default: %(default)s")
    parser.add_argument("--weights", default=FOLDER, metavar="FOLDER")
    options = parser.parse_args()
    networks, picture = load(options.weights), data.astronaut()
    find(networks, picture)  # the second time, plans and memory are there
    begin = time.perf_counter()
    found = find(networks, picture)
    seconds = time.perf_counter() - begin
    for box, score in zip(found[0], found[1], strict=True):
        left, top, right, bottom = box
        print(f"a face from x={left:.0f}, y={top:.0f} (left, top) to ", end="")
        print(f"x={right:.0f}, y={bottom:.0f} (right, bottom), in pixels: {100 * score:.2f} % sure")
    print(f"places left over by the three networks: {', '.join(str(len(left)) for left in found[3])}; ", end="")
    print(f"{1000 * seconds:.0f} ms")
    Path(options.picture).parent.mkdir(parents=True, exist_ok=True)
    draw(options.picture, picture, found, seconds)
    print(f"written: {options.picture}")


if __name__ == "__main__":
    main()
