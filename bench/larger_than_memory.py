"""An array larger than its workers' memory, through a convolution into zarr and back, and a network over many images.

    python bench/larger_than_memory.py [--gigabytes 4] [--limit 700MB] [--images 20000] [--directory .]

It prints how long each step took and the most memory that each worker has had, and fails if one had more than its limit
or the bits are not those of the same call in memory. It needs `pip install ".[dask]" distributed zarr` and, in
the directory, three times the array's size.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr
from dask.distributed import Client, LocalCluster
from dask.utils import parse_bytes

import convkit.dask
from convkit import models

CHANNELS, STRIDE, PADDING = 4, 2, 3


def peak() -> int:
    """Bytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Steps:
    """Runs one step after the other and says what it took."""

    def __init__(self, client: Client, limit: int):
        self.client, self.limit, self.most = client, limit, 0

    def run(self, what: str, step):
        """What `step()` returns."""
        start = time.perf_counter()
        result = step()
        seconds = time.perf_counter() - start
        peaks = sorted(self.client.run(peak).values())
        self.most = max(self.most, *peaks)
        workers = ", ".join(f"{bytes_ / 1e6:.0f}" for bytes_ in peaks)
        print(f"{what:34}{seconds:8.1f} s   workers' peaks {workers} of {self.limit / 1e6:.0f} MB", flush=True)
        return result


def stored(array: da.Array, path: Path) -> da.Array:
    """The array, written to zarr and taken from there."""
    sizes = tuple(max(axis) for axis in array.chunks)
    z = zarr.create_array(str(path), shape=array.shape, chunks=sizes, dtype=array.dtype, compressors=None)
    array.rechunk(sizes).store(z, lock=False)
    return da.from_zarr(str(path))


def image(steps: Steps, gigabytes: float, chunk: int, directory: Path) -> None:
    """Forward, and the gradients of x, weight and bias, of one large image."""
    size = max(2 * chunk, round((gigabytes * 1e9 / 4) ** 0.5 / chunk) * chunk)
    weight = np.random.default_rng(1).standard_normal((CHANNELS, 1, 7, 7)).astype(np.float32)
    sizes = {"stride": STRIDE, "padding": PADDING}
    x = da.random.default_rng(0).standard_normal((1, 1, size, size), dtype=np.float32, chunks=(1, 1, chunk, chunk))
    print(f"x {x.shape}, {x.nbytes / 1e9:.2f} GB in {x.npartitions} chunks")
    x = steps.run("x to zarr", lambda: stored(x, directory / "x.zarr"))
    y = convkit.dask.conv2d(x, weight, **sizes)
    print(f"y {y.shape}, {y.nbytes / 1e9:.2f} GB, {len(y.dask)} tasks")
    y = steps.run("forward, to zarr", lambda: stored(y, directory / "y.zarr"))
    grads = convkit.dask.conv2d_backward(y, x, weight, **sizes)
    dx = steps.run("gradient of x, to zarr", lambda: stored(grads.x, directory / "dx.zarr"))
    sums = [steps.run("gradients of weight and bias", lambda: dask.compute(*grads[1:])) for _ in range(2)]
    if any(first.tobytes() != again.tobytes() for first, again in zip(*sums, strict=True)):
        sys.exit("gradients of weight and bias must be the same in every run, and are not")

    seam = size // 2 - size // 2 % chunk  # between two chunks
    near, far = seam - 64, seam + 64
    part = np.asarray(x[..., near - PADDING : far + PADDING, near - PADDING : far + PADDING])
    expected = convkit.conv2d(part, weight, stride=STRIDE, algorithm="implicit_gemm")
    got = np.asarray(y[..., near // 2 : near // 2 + expected.shape[2], near // 2 : near // 2 + expected.shape[3]])
    part = np.asarray(y[..., near // 2 : far // 2, near // 2 : far // 2])
    region = (1, 1, far - near, far - near)
    back = convkit.conv2d_backward(part, region, weight, **sizes, need="x", algorithm="implicit_gemm").x
    inner = np.s_[..., 8:-8, 8:-8]
    same = np.asarray(dx[..., near:far, near:far])[inner].tobytes() == back[inner].tobytes()
    if not same or got.tobytes() != expected.tobytes():
        sys.exit("results across a seam must have the bits that they have in memory, and have not")


def network(steps: Steps, images: int, size: int, batch: int) -> None:
    """ResNet-18 over many images."""
    prepared = models.resnet18(10, rng=0).prepare()
    x = da.random.default_rng(2).standard_normal((images, 3, size, size), dtype=np.float32, chunks=(batch, -1, -1, -1))
    print(f"{images} images {x.shape[1:]}, {x.nbytes / 1e9:.2f} GB in {x.npartitions} chunks")
    scores = convkit.dask.network(prepared, x)
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):  # the model is sent once
        got = steps.run("ResNet-18", scores.compute)
    few = min(images, batch)
    if not np.array_equal(got[-few:], prepared(x[-few:].compute())):
        sys.exit("scores must have the bits that they have in memory, and have not")


def main() -> None:
    """Everything, on a cluster of this machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4, help="of the array")
    parser.add_argument("--chunk", type=int, default=2000, help="rows and columns of a chunk")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", default="700MB", help="of a worker's memory")
    parser.add_argument("--images", type=int, default=20_000, help="for the network")
    parser.add_argument("--size", type=int, default=64, help="rows and columns of an image")
    parser.add_argument("--batch", type=int, default=32, help="images of a chunk")
    parser.add_argument("--directory", default=".", help="where the arrays lie meanwhile")
    options = parser.parse_args()
    limit = parse_bytes(options.limit)
    cluster = LocalCluster(options.workers, threads_per_worker=1, memory_limit=limit, dashboard_address=":0")
    with cluster, Client(cluster) as client, tempfile.TemporaryDirectory(dir=options.directory) as directory:
        steps = Steps(client, limit)
        image(steps, options.gigabytes, options.chunk, Path(directory))
        if options.images:
            network(steps, options.images, options.size, options.batch)
    if steps.most > limit:
        sys.exit(f"workers must stay under {limit / 1e6:.0f} MB, and one had {steps.most / 1e6:.0f}")


if __name__ == "__main__":
    main()
