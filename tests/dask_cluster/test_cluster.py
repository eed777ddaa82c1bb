"""On a cluster of processes: a worker that dies, memory, and what a user would run. `make test-dask` runs these."""

import os
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from dask.distributed import Client, LocalCluster

import convkit.dask
from lazy import kills_once

ROOT = Path(__file__).parent.parent.parent
RNG = np.random.default_rng(3)
X = RNG.standard_normal((4, 6, 60, 60)).astype(np.float32)
WEIGHT = RNG.standard_normal((8, 6, 3, 3)).astype(np.float32)
HANG = 120  # seconds after which something hangs


@pytest.fixture(scope="module")
def client():
    """Two processes, each with a memory of its own."""
    with LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        yield client


def computed(client, arrays):
    """What they are, in time."""
    return [future.result(timeout=HANG) for future in client.compute(arrays)]


def test_a_worker_that_dies_is_replaced_and_the_bits_are_the_same(client, tmp_path):
    before = set(client.scheduler_info()["workers"])
    x = da.from_array(X, (1, 6, 20, 60)).map_blocks(kills_once, flag=str(tmp_path / "died"), dtype=X.dtype, meta=X[:0])
    y = convkit.dask.conv2d(x, WEIGHT, padding=1)
    grads = convkit.dask.conv2d_backward(y, x, WEIGHT, padding=1)
    got = computed(client, [y, *grads])
    assert (tmp_path / "died").exists()
    client.wait_for_workers(2, timeout=HANG)
    assert set(client.scheduler_info()["workers"]) != before
    again = computed(client, [y, *grads])
    expected = convkit.conv2d(X, WEIGHT, padding=1, algorithm="implicit_gemm")
    dx = convkit.conv2d_backward(expected, X, WEIGHT, padding=1, need="x", algorithm="implicit_gemm").x
    assert got[0].tobytes() == expected.tobytes()
    assert got[1].tobytes() == dx.tobytes()
    assert [array.tobytes() for array in got] == [array.tobytes() for array in again]


def test_a_model_is_applied_by_all_workers(client):
    conv = convkit.nn.Conv2d(6, 8, 3, padding=1, stride=2, algorithm="implicit_gemm", rng=0)
    model = convkit.nn.Sequential(conv, convkit.nn.BatchNorm2d(8), convkit.nn.ReLU())
    prepared = model.prepare(X.shape)
    for net, chunks in ((model.predict, (1, -1, -1, -1)), (prepared, (1, -1, -1, -1)), (prepared, (2, 6, 17, 31))):
        y = convkit.dask.network(net, da.from_array(X, chunks))
        assert np.array_equal(computed(client, [y])[0], net(X))


def test_an_error_names_its_argument_across_processes(client):
    indices = da.zeros((4, 6, 30, 30), dtype=np.int64, chunks=(1, 6, 10, 30))
    grad = da.ones(indices.shape, dtype=np.float32, chunks=indices.chunks)
    dx = convkit.dask.max_pool2d_backward(grad, indices, X.shape, 2)
    with pytest.raises(ValueError, match="indices must lie in their windows"):
        computed(client, [dx])


def test_more_than_memory(tmp_path):
    """The benchmark, on arrays of 16 MB and less: it checks bits and limits itself."""
    options = "--volume 50 --tile 24 --gigabytes 0.016 --chunk 500 --images 20 --size 32 --batch 8".split()
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "larger_than_memory.py", *options, "--directory", tmp_path],
        env=os.environ | {"PYTHONSAFEPATH": ""},  # its folder comes first, as for whoever runs it
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("workers' peaks") == 7 and done.stdout.count("this process's peak") == 1
