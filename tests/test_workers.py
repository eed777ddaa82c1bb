"""joblib, multiprocessing, concurrent.futures, as in docs/distributed.md: the same bits, no more threads than cores."""

from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest

import convkit

# Run in an interpreter of its own, whose process is then forked, or not, before and after it has used its threads.
WORKERS = """
import os

os.environ.pop("OMP_NUM_THREADS", None)  # what is said already, loky leaves as it is

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import joblib
import numpy as np

import convkit

rng = np.random.default_rng(0)
images = [rng.standard_normal((1, 16, 20, 20), np.float32) for _ in range(6)]
call = partial(convkit.conv2d, weight=rng.standard_normal((16, 16, 3, 3), np.float32), padding=1)
with convkit.threads(2):
    expected = [call(image).tobytes() for image in images]
one, cores = {"initializer": convkit.set_num_threads, "initargs": (1,)}, len(os.sched_getaffinity(0))


def check(results, threads):
    assert [y.tobytes() for y in results] == expected
    assert 2 * threads <= max(cores, 2), threads


if "HOW" == "loky":
    with joblib.Parallel(2) as parallel:
        results = parallel(joblib.delayed(call)(image) for image in images)
        check(results, max(parallel(joblib.delayed(convkit.get_num_threads)() for _ in range(4))))
else:
    context = get_context("HOW")
    with ProcessPoolExecutor(2, context, **one) as pool:
        check(pool.map(call, images), pool.submit(convkit.get_num_threads).result())
    with context.Pool(2, **one) as pool:
        check(pool.map(call, images), pool.apply(convkit.get_num_threads))
assert call(images[0]).tobytes() == expected[0]
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if "HOW" == "spawn":
    with context.Pool(1) as pool:  # what has one core to run on takes one thread, if nobody says anything
        assert pool.apply(convkit.get_num_threads) == 1
print("done")
"""


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["loky", "fork", "spawn"])
def test_processes(python, how):
    done = python(WORKERS.replace("HOW", how))
    assert done.stdout == "done\n", done.stderr


def test_threads():
    """Of the pool's threads each says for itself how many it takes; the program's own are as they were."""
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((1, 16, 20, 20), np.float32) for _ in range(6)]
    weight = rng.standard_normal((16, 16, 3, 3), np.float32)
    before = convkit.get_num_threads()

    def call(image):
        with convkit.threads(1):
            return convkit.conv2d(image, weight, padding=1), convkit.get_num_threads()

    with convkit.threads(2):
        expected = [convkit.conv2d(image, weight, padding=1).tobytes() for image in images]
        with ThreadPoolExecutor(2) as pool:
            of_pool = list(pool.map(call, images))
        of_joblib = joblib.Parallel(2, backend="threading")(joblib.delayed(call)(image) for image in images)
    for results in (of_pool, of_joblib):
        assert [(y.tobytes(), threads) for y, threads in results] == [(bits, 1) for bits in expected]
    assert convkit.get_num_threads() == before
