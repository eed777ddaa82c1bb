"""Resampling on typical shapes, forward and backward: `python bench/resample.py --against torch`."""

import sys
from collections.abc import Iterator, Sequence

import numpy as np
from pytorch import forward_and_backward, image, images, installed

import convkit
from convkit.benchmarks.tasks import Task, main

RESIZES = {  # x, scale, mode
    "u-net x2": ((1, 64, 64, 64), 2, "bilinear"),
    "pyramid x2": ((1, 256, 28, 28), 2, "nearest"),
    "segmentation x4": ((1, 21, 128, 128), 4, "bilinear"),
    "super resolution x2": ((1, 3, 256, 256), 2, "bicubic"),
    "photograph x0.5": ((1, 3, 512, 512), 0.5, "bilinear"),
    "volume x2": ((1, 16, 24, 24, 24), 2, "trilinear"),
}
GRIDS = {  # x, out, mode, padding_mode; out follows the image, a pixel or so astray
    "transformer": ((8, 32, 56, 56), (56, 56), "bilinear", "zeros"),
    "flow": ((1, 64, 96, 128), (96, 128), "bilinear", "border"),
    "photograph": ((1, 3, 384, 384), (384, 384), "bilinear", "reflection"),
    "bicubic": ((1, 32, 64, 64), (64, 64), "bicubic", "zeros"),
    "volume": ((1, 8, 32, 32, 32), (32, 32, 32), "bilinear", "zeros"),
}


def places(n: int, out: tuple[int, ...]) -> np.ndarray:
    """A regular grid, rotated by 0.1 radians and shaken."""
    rng = np.random.default_rng(1)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in out), indexing="ij")[::-1]
    turned = [np.cos(0.1) * axes[0] - np.sin(0.1) * axes[1], np.sin(0.1) * axes[0] + np.cos(0.1) * axes[1], *axes[2:]]
    grid = np.stack(turned, -1) + rng.normal(0, 1 / max(out), (n, *out, len(out)))
    return np.ascontiguousarray(grid, np.float32)


def resize(name: str, layout: str, against: Sequence[str], threads: int) -> Iterator[Task]:
    shape, scale, mode = RESIZES[name]
    x, options = image(shape, layout), {"scale_factor": scale, "mode": mode}
    y = convkit.interpolate(x, **options, layout=layout)
    peers = ({}, {})
    if against:
        operator = installed(threads).nn.functional.interpolate
        peers = forward_and_backward(lambda given: operator(given, **options), x, layout)

    def forward():
        return convkit.interpolate(x, **options, layout=layout, out=y)

    def grad_x():
        return convkit.interpolate_backward(y, x.shape, **options, layout=layout)

    yield Task(f"{name} {layout} forward", forward, peers[0], images(layout))
    yield Task(f"{name} {layout} backward", grad_x, peers[1], images(layout))


def sample(name: str, layout: str, against: Sequence[str], threads: int) -> Iterator[Task]:
    shape, out, mode, padding_mode = GRIDS[name]
    x, grid = image(shape, layout), places(shape[0], out)
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": False}
    y = convkit.grid_sample(x, grid, **options, layout=layout)
    peers = ({}, {})
    if against:
        torch = installed(threads)
        at = torch.from_numpy(grid)
        peers = forward_and_backward(lambda g: torch.nn.functional.grid_sample(g, at, **options), x, layout)

    def forward():
        return convkit.grid_sample(x, grid, **options, layout=layout, out=y)

    def gradient(which):
        return getattr(convkit.grid_sample_backward(y, x, grid, **options, layout=layout, need=which), which)

    yield Task(f"{name} grid {layout} forward", forward, peers[0], images(layout))
    yield Task(f"{name} grid {layout} grad x", lambda: gradient("x"), peers[1], images(layout))
    yield Task(f"{name} grid {layout} grad grid", lambda: gradient("grid"))


def tasks(against: Sequence[str], threads: int) -> Iterator[Task]:
    for layout in ("NCHW", "NHWC"):
        for name in RESIZES:
            yield from resize(name, layout, against, threads)
        for name in GRIDS:
            yield from sample(name, layout, against, threads)


if __name__ == "__main__":
    sys.exit(main(__doc__, tasks))
