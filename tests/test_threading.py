"""Who runs the threads, the pool or OpenMP: the same bits, and what the pool promises to callers, forks and exits."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import convkit
from convkit._ext import engine
from test_process import run

rng = np.random.default_rng(0)
X, WEIGHT = rng.standard_normal((4, 32, 30, 30), np.float32), rng.standard_normal((32, 32, 3, 3), np.float32)


def call(threads):
    with convkit.threads(threads):
        y = convkit.conv2d(X, WEIGHT, padding=1)
        return b"".join(a.tobytes() for a in (y, *convkit.conv2d_backward(y, X, WEIGHT, padding=1)))


def endless():
    """An image many times over, by stride 0, and a kernel: far more work than a test has time for, polls in between."""
    image, weight = np.ones((1, 32, 40, 40), np.float32), np.ones((2, 32, 40, 40), np.float32)
    return np.broadcast_to(image, (2**20, *image.shape[1:])), weight


@pytest.mark.thorough
def test_the_variable(imports):
    current = "convkit.show_config('dicts')['threads']['run_by']"
    built = engine.built_threadings()
    *ways, error = imports(*((current, {"CONVKIT_THREADING": way}) for way in ("", *built, "threads")))
    assert ways == [built[-1], *built]
    listed = ", ".join(map(repr, built))
    assert error == f"RuntimeError: CONVKIT_THREADING must be one that was built in ({listed}), got 'threads'"


@pytest.fixture(params=engine.built_threadings())
def way(request):
    before = engine.current_threading()
    engine.set_threading(request.param)
    yield request.param
    engine.set_threading(before)


def test_bits_of_many_callers(way):
    """One, with more threads than there are cores; then several at once, each with a number of its own."""
    expected = call(1)
    assert [call(threads) for threads in (2, 3, 7, 2, 70)] == [expected] * 5

    def work(number):
        assert [call(1 + (number + turn) % 4) for turn in range(3)] == [expected] * 3

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def forks(way):
    """A child starts threads of its own, while another thread of the parent was inside a call."""
    import os
    import threading

    import convkit
    from test_threading import call, engine

    engine.set_threading(way)
    expected, stop = call(3), threading.Event()

    def work():
        while not stop.is_set():
            call(3)

    busy = threading.Thread(target=work)
    busy.start()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            same = call(3) == expected
            threads = convkit.show_config("dicts")["threads"]
            pool = threads["run_by"] == "pool" and threads["after_fork"] and len(os.listdir("/proc/self/task")) == 3
            os._exit(0 if same and pool else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert call(3) == expected
    stop.set()
    busy.join()


@pytest.mark.thorough
@pytest.mark.parametrize("way", engine.built_threadings())
def test_forked_children_use_the_pool(way):
    run(forks, way, timeout=60)


def crowded(way):
    """Two threads on one CPU, of which one has to be patient: in call after call it comes when all has been done.
    Prints who runs them after that.
    """
    import os
    import threading

    import numpy as np

    import convkit
    from test_threading import engine

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if way:
        engine.set_threading(way)
    convkit.set_num_threads(2)
    x, weight = np.ones((32, 16, 64, 64), np.float32), np.ones((16, 16, 3, 3), np.float32)  # 2 ms or more
    y = convkit.conv2d(x, weight)
    for task in set(map(int, os.listdir("/proc/self/task"))) - {threading.get_native_id()}:
        os.setpriority(os.PRIO_PROCESS, task, 19)
    for _ in range(500):
        convkit.conv2d(x, weight, out=y)
        if engine.current_threading() == "pool":
            break
    assert (y == 144).all()
    print(convkit.show_config("dicts")["threads"]["run_by"])


@pytest.mark.parametrize("way, then", (("", "pool"), *((name, name) for name in engine.built_threadings())))
def test_the_pool_stands_in_for_threads_that_come_late(way, then, monkeypatch):
    """Unless they were asked for."""
    monkeypatch.delenv("CONVKIT_THREADING", raising=False)
    assert run(crowded, way, timeout=60).split() == [then]


def handlers():
    """A signal's handler in the middle of a call may call, too; and may fork, where only the parent can go on."""
    import os
    import signal
    import time

    import convkit
    from test_threading import call, endless, engine

    engine.set_threading("pool")
    convkit.set_num_threads(2)
    (x, weight), expected = endless(), call(1)
    seen, me, began = [], os.getpid(), [time.monotonic()]

    def handler(number, frame):  # not in what Python does before the call; after it there is time for few signals
        inside = frame.f_globals["__name__"] == "convkit.ops._shared" and time.monotonic() > began[0] + 0.005
        if inside and not seen:
            seen.append(call(2) == expected)
            seen.append(os.fork())

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    right, message = True, None
    while right and not seen:
        began[0] = time.monotonic()
        try:
            right = (convkit.conv2d(x[: 2**16], weight) == 32 * 1600).all()
        except RuntimeError as error:
            message = str(error)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert seen[0] and right and call(2) == expected
    if os.getpid() != me:
        os._exit(0 if "forked during this call" in message else 1)
    assert message is None
    assert os.waitstatus_to_exitcode(os.waitpid(seen[1], 0)[1]) == 0


def others():
    """While a call that only another thread ends has the pool's threads, that thread's own calls come to their end."""
    import _thread
    import signal
    import threading

    import convkit
    from test_threading import call, endless, engine

    engine.set_threading("pool")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    convkit.set_num_threads(2)
    (x, weight), expected, same = endless(), call(1), []

    def work():
        same.extend(call(threads) == expected for threads in (2, 3, 2))
        _thread.interrupt_main()

    other = threading.Thread(target=work)
    try:
        other.start()
        convkit.conv2d(x, weight)
    except KeyboardInterrupt:
        other.join()
        assert same == [True, True, True]


def daemons():
    """The interpreter ends while daemons are in the middle of calls, and the pool's threads with them."""
    import threading
    import time

    import convkit
    from test_threading import call, endless, engine

    engine.set_threading("pool")
    convkit.set_num_threads(2)
    x, weight = endless()
    call(2)
    for _ in range(2):
        threading.Thread(target=convkit.conv2d, args=(x, weight), daemon=True).start()
    time.sleep(0.2)


@pytest.mark.thorough
@pytest.mark.parametrize("script", (handlers, others, daemons))
def test_the_pool(script):
    run(script, timeout=60)
