"""What does not fit into memory: a volume through `Network.tiled`; an array larger than its workers' memory, through a
convolution and a network into zarr and back; a network over many images.

    python bench/larger_than_memory.py [--volume 1280] [--gigabytes 4] [--limit 700MB] [--images 20000] [--directory .]

It prints how long each step took and the most memory that this process, or each worker, has had, and fails if one had
more than its limit or the bits are not those of the same call in memory. It needs `pip install ".[dask]"
distributed` and, in the directory, four times the array's size, or twice the volume's.
"""

import argparse
import itertools
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
from convkit import models, nn

CHANNELS, STRIDE, PADDING = 4, 2, 3
HALO = 3  # of three layers of 3x3 or 3x3x3


def peak() -> int:
    """Bytes that this process has had at most; getrusage would count what the one had that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


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
    return da.from_zarr(convkit.dask.to_zarr(array, path, compressors=None))


def three_layers(conv: type[nn.Module]) -> convkit.graph.Network:
    """A network whose bits do not depend on how its images are cut."""
    options = {"padding": 1, "algorithm": "implicit_gemm", "rng": 0}
    layers = [conv(1, 4, 3, **options), nn.ReLU(), conv(4, 4, 3, **options), nn.ReLU(), conv(4, 1, 3, **options)]
    return nn.Sequential(*layers).prepare()


def same_across(seams: list[int], reach: int, net: convkit.graph.Network, x, y) -> bool:
    """Whether y has the bits of a call in memory around a place."""
    seen, there = (tuple(slice(at - far, at + far) for at in seams) for far in (reach + HALO, reach))
    expected = net(np.asarray(x[..., *seen]))[..., *[slice(HALO, -HALO)] * len(seams)]
    return expected.tobytes() == np.asarray(y[..., *there]).tobytes()


def volume(size: int, tile: int, limit: int, directory: Path) -> None:
    """A network of three layers over a volume, in this process."""
    shape, chunks = (1, 1, size, size, size), (1, 1, *[tile // 3] * 3)
    options = {"shape": shape, "chunks": chunks, "dtype": np.float32, "compressors": None}
    x, y = (zarr.create_array(str(directory / name), **options) for name in ("volume.zarr", "of_volume.zarr"))
    rng, net = np.random.default_rng(3), three_layers(nn.Conv3d)
    for at in itertools.product(range(0, size, tile), repeat=3):
        part = tuple(slice(first, min(first + tile, size)) for first in at)
        x[0, 0, *part] = rng.standard_normal([side.stop - side.start for side in part], np.float32)
    print(f"volume {shape}, {x.nbytes / 1e9:.2f} GB in {x.nchunks} chunks", flush=True)
    start = time.perf_counter()
    net.tiled(x, tile, out=y)
    seconds, most = time.perf_counter() - start, peak()
    print(f"{'tiled, to zarr':34}{seconds:8.1f} s   this process's peak {most / 1e6:.0f} of {limit / 1e6:.0f} MB")
    if not same_across([tile] * 3, tile // 4, net, x, y):
        sys.exit("tiles must have the bits that they have in memory, and have not")
    if most > limit:
        sys.exit(f"this process must stay under {limit / 1e6:.0f} MB, and had {most / 1e6:.0f}")


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
    net = three_layers(nn.Conv2d)
    of_net = steps.run("three layers, to zarr", lambda: stored(convkit.dask.network(net, x), directory / "net.zarr"))
    if not same_across([seam] * 2, 64, net, x, of_net):
        sys.exit("a network's results across a seam must have the bits that they have in memory, and have not")

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
    parser.add_argument("--volume", type=int, default=1280, help="voxels along an edge")
    parser.add_argument("--tile", type=int, default=192, help="voxels along an edge of its tiles, three chunks")
    parser.add_argument("--gigabytes", type=float, default=4, help="of the array")
    parser.add_argument("--chunk", type=int, default=2000, help="rows and columns of a chunk")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", default="700MB", help="of a worker's memory")
    parser.add_argument("--images", type=int, default=20_000, help="for the network")
    parser.add_argument("--size", type=int, default=64, help="rows and columns of an image")
    parser.add_argument("--batch", type=int, default=32, help="images of a chunk")
    parser.add_argument("--directory", default=".", help="where the arrays lie meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        if options.volume:
            volume(options.volume, options.tile, 10**9, Path(directory))
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
