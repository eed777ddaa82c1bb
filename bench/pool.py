"""Pooling on typical shapes, forward and backward: `python bench/pool.py --against torch`."""

import sys
from collections.abc import Iterator, Sequence

from pytorch import forward_and_backward, image, images, installed

import convkit
from convkit.benchmarks.tasks import Task, main

WINDOWS = {  # kind, x, (kernel, stride, padding)
    "resnet stem": ("max", (8, 64, 112, 112), (3, 2, 1)),
    "vgg": ("max", (8, 64, 56, 56), (2, 2, 0)),
    "inception": ("max", (8, 192, 28, 28), (3, 1, 1)),
    "densenet transition": ("avg", (8, 64, 56, 56), (2, 2, 0)),
    "inception average": ("avg", (8, 192, 28, 28), (3, 1, 1)),
    "large": ("max", (1, 64, 112, 112), (13, 1, 6)),
    "signal": ("avg", (4, 64, 8192), (31, 1, 15)),
    "volume": ("max", (1, 32, 24, 56, 56), (3, 2, 1)),
}
ADAPTIVE = {"resnet head": ((8, 2048, 7, 7), 1), "squeeze": ((8, 256, 56, 56), 1), "vgg head": ((8, 512, 14, 14), 7)}


def windows(name: str, layout: str, against: Sequence[str], threads: int) -> Iterator[Task]:
    """A window that slides, forward and backward."""
    kind, shape, window = WINDOWS[name]
    nd, x = len(shape) - 2, image(shape, layout)
    pool, backward = (getattr(convkit, f"{kind}_pool{nd}d{suffix}") for suffix in ("", "_backward"))
    y, peers = pool(x, *window, layout=layout), ({}, {})
    indices = pool(x, *window, return_indices=True, layout=layout)[1] if kind == "max" else None
    if against:
        operator = getattr(installed(threads).nn.functional, f"{kind}_pool{nd}d")
        peers = forward_and_backward(lambda given: operator(given, *window), x, layout)

    def forward():
        return pool(x, *window, layout=layout, out=y)

    def grad_x():
        if kind == "max":
            return backward(y, indices, x.shape, layout=layout)
        return backward(y, x.shape, *window, layout=layout)

    yield Task(f"{name} {layout} forward", forward, peers[0], images(layout))
    yield Task(f"{name} {layout} backward", grad_x, peers[1], images(layout))


def adaptive(name: str, kind: str, layout: str, against: Sequence[str], threads: int) -> Task:
    """A window that follows the output's size, forward."""
    shape, size = ADAPTIVE[name]
    x, pool = image(shape, layout), getattr(convkit, f"adaptive_{kind}_pool2d")
    y, peer = pool(x, size, layout=layout), {}
    if against:
        operator = getattr(installed(threads).nn.functional, f"adaptive_{kind}_pool2d")
        peer, _ = forward_and_backward(lambda given: operator(given, size), x, layout)

    def forward():
        return pool(x, size, layout=layout, out=y)

    return Task(f"{name} adaptive {kind} {layout}", forward, peer, images(layout))


def tasks(against: Sequence[str], threads: int) -> Iterator[Task]:
    for layout in ("NCHW", "NHWC"):
        for name in WINDOWS:
            yield from windows(name, layout, against, threads)
        for name in ADAPTIVE:
            for kind in ("avg", "max"):
                yield adaptive(name, kind, layout, against, threads)


if __name__ == "__main__":
    sys.exit(main(__doc__, tasks))
