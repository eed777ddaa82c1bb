"""What needs a process of its own: signals, forks, several callers, peak memory, guard pages, giant arrays.

Each test runs a script in a fresh interpreter; the scripts are the functions below, sent as source.
"""

import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import convkit
from cases import assert_same_bits, everything, random_data
from problems import named

HERE = Path(__file__).parent


def source(function, *arguments) -> str:
    """A script that defines `function` and calls it."""
    return f"{textwrap.dedent(inspect.getsource(function))}\n{function.__name__}(*{arguments!r})\n"


def run(function, *arguments, timeout=120) -> str:
    """What `function` prints in a fresh interpreter; a crash or an exception there fails the test with its output."""
    command = [sys.executable, "-X", "faulthandler", "-c", source(function, *arguments)]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


# ---- Ctrl-C ----


def interrupted(direction):
    """Prints "ready", makes a call that is far from its end when Ctrl-C comes, and says what that left undone."""
    import signal

    import numpy as np

    import convkit

    # Started in the background of a shell, a process inherits SIGINT ignored, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    convkit.set_num_threads(2)
    rng = np.random.default_rng(0)
    # One image over and over, by stride 0; a kernel as large as the image makes much work for a small result.
    image, weight = rng.standard_normal((1, 64, 40, 40), np.float32), rng.standard_normal((4, 64, 40, 40), np.float32)
    many, endless = (np.broadcast_to(image, (n, *image.shape[1:])) for n in (2**22, 2**40))
    point, out = image[:, :4, :1, :1], np.full((len(many), 4, 1, 1), np.nan, np.float32)
    calls = {
        "forward": lambda: convkit.conv2d(many, weight, out=out),
        "x": lambda: convkit.conv2d_backward(
            many, out.shape, weight.swapaxes(0, 1), padding=39, need="x", out=(out, None, None)
        ),
        # Months of work: this one ends by Ctrl-C or not at all.
        "weight": lambda: convkit.conv2d_backward(
            np.broadcast_to(point, (len(endless), *point.shape[1:])), endless, weight.shape, need="weight"
        ),
    }
    small = convkit.conv2d(image, weight)
    print("ready", flush=True)
    try:
        calls[direction]()
        print("the call ran to its end")
    except KeyboardInterrupt:
        print("undone" if np.isnan(out).any() else "interrupted when all was done")
    assert convkit.conv2d(image, weight).tobytes() == small.tobytes()
    print("usable")


@pytest.mark.thorough
@pytest.mark.parametrize("direction", ("forward", "x", "weight"))
def test_control_c(direction):
    """SIGINT in the middle of a long call: KeyboardInterrupt with work left undone, and the next call is right."""
    command = [sys.executable, "-c", source(interrupted, direction)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        try:
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert out.splitlines() == ["undone", "usable"], err
    assert child.returncode == 0, err


# ---- fork ----


def forking():
    """Calls before, in and after forked children; a hanging child is killed and fails the test."""
    import os
    import signal
    import time

    import numpy as np

    import convkit

    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((4, 32, 30, 30), np.float32), rng.standard_normal((32, 32, 3, 3), np.float32)

    def call():
        y = convkit.conv2d(x, weight, padding=1)
        return y.tobytes() + b"".join(g.tobytes() for g in convkit.conv2d_backward(y, x, weight, padding=1))

    with convkit.threads(2):
        expected = call()
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(0 if [call() for _ in range(3)] == [expected] * 3 else 1)
            deadline = time.monotonic() + 60
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    raise SystemExit("the child hangs")
                time.sleep(0.01)
            assert call() == expected
        child = os.fork()
        if child == 0:
            os._exit(int(call() != expected))
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.thorough
def test_fork_after_use():
    run(forking)


def pooling():
    """A pool of forked workers, used after the parent has used its threads."""
    import multiprocessing

    import numpy as np

    import convkit

    rng = np.random.default_rng(0)
    images = rng.standard_normal((6, 2, 16, 20, 20), np.float32)
    weight = rng.standard_normal((16, 16, 3, 3), np.float32)
    convkit.set_num_threads(2)
    expected = [convkit.conv2d(image, weight, padding=1).tobytes() for image in images]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.starmap_async(convkit.conv2d, [(image, weight, None, 1, 1) for image in images]).get(60)
    assert [y.tobytes() for y in results] == expected
    assert [convkit.conv2d(image, weight, padding=1).tobytes() for image in images] == expected


@pytest.mark.thorough
def test_fork_pool():
    run(pooling)


# ---- several callers ----


@pytest.mark.thorough
def test_python_threads():
    """Eight Python threads at once, each with its own number of threads, on shared operands: the bits of one alone."""
    cases = [random_data(problem, "float32") for problem in named("primes", "tails_65_153", "depthwise", "cifar_32")]
    expected = [everything(data) for data in cases]
    barrier = threading.Barrier(8)

    def call(number):
        barrier.wait()
        for turn in range(12):
            which = (number + turn) % len(cases)
            with convkit.threads(1 + number % 3):
                assert_same_bits(everything(cases[which]), expected[which], f"thread {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))


def ended_by_another_thread():
    """A call that would last for months is interrupted by a Python thread, which must be able to run meanwhile."""
    import _thread
    import signal
    import sys
    import threading

    import numpy as np

    import convkit

    signal.signal(signal.SIGINT, signal.default_int_handler)
    x, grad = (np.broadcast_to(np.float32(1), (2**40, 16, size, size)) for size in (20, 18))
    inside = threading.Event()

    def interrupt():
        inside.wait()
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    sys.setswitchinterval(1e6)  # from here on Python's lock changes hands only where it is released
    inside.set()
    try:
        convkit.conv2d_backward(grad, x, (16, 16, 3, 3), need="weight")
    except KeyboardInterrupt:
        print("interrupted")


@pytest.mark.thorough
def test_the_interpreter_runs_meanwhile():
    """The lock is released inside a call."""
    assert run(ended_by_another_thread, timeout=60) == "interrupted\n"


# ---- memory ----


def peak_memory():
    """Prints by how many bytes beyond their results calls of 64 to 64 channels, 3x3, raise the peak."""
    import itertools

    import numpy as np

    import convkit
    from guards import peak_of

    weight = np.ones((64, 64, 3, 3), np.float32)

    def call(x, direction, **options):
        if direction == "forward":
            return convkit.conv2d(x, weight, padding=1, **options)
        grads = convkit.conv2d_backward(x, x, weight, padding=1, need=direction, **options)
        return getattr(grads, direction)

    convkit.set_num_threads(2)
    convkit.set_cache_limit(0)
    places = itertools.product((112, 256), ("forward", "x", "weight"), ("implicit_gemm", "im2col"))
    for size, direction, algorithm in places:
        x = np.ones((1, 64, size, size), np.float32)
        call(x[..., :20, :20], direction, algorithm=algorithm)
        result, peak = peak_of(lambda x=x, way=direction, algorithm=algorithm: call(x, way, algorithm=algorithm))
        print(size, direction, algorithm, peak - result.nbytes)
        del result


def peak_memory_of_deform(size, backward):
    """Prints by how many bytes beyond its result a deformable call of 256 to 256 channels, 3x3, raises the peak."""
    import numpy as np

    import convkit
    from guards import peak_of

    rng = np.random.default_rng(0)
    x, grad = np.ones((1, 256, size, size), np.float32), np.ones((1, 256, size, size), np.float32)
    offset = rng.standard_normal((1, 18, size, size), np.float32)
    weight, mask = np.ones((256, 256, 3, 3), np.float32), np.ones((1, 9, size, size), np.float32)

    def call(x, offset, mask, grad):
        if backward:
            return convkit.deform_conv2d_backward(grad, x, offset, weight, padding=1, mask=mask)
        return [convkit.deform_conv2d(x, offset, weight, padding=1, mask=mask)]

    convkit.set_num_threads(2)
    call(*(a[..., :9, :9] for a in (x, offset, mask, grad)))
    result, peak = peak_of(lambda: call(x, offset, mask, grad))
    print(peak - sum(array.nbytes for array in result))


@pytest.mark.thorough
@pytest.mark.parametrize("backward", (False, True), ids=("forward", "backward"))
def test_peak_memory_of_deformable_convolution(backward):
    """The results and at most 8 MiB, where the columns of all pixels would be 150."""
    assert int(run(peak_memory_of_deform, 128, backward)) <= 8 * 2**20


@pytest.mark.thorough
def test_peak_memory():
    """The result and at most 8 MiB, at any image size; the columns of all pixels would be 150."""
    for line in (lines := run(peak_memory).splitlines()):
        assert int(line.split()[-1]) <= 8 * 2**20, line
    assert len(lines) == 12


def growing_workspaces():
    """Prints the workspaces of calls of which each takes more than the one before, and what is kept after all."""
    import numpy as np

    import convkit
    from guards import map_large_blocks, status

    map_large_blocks()
    convkit.set_num_threads(1)
    convkit.set_cache_limit(0)
    x, weight = np.ones((1, 512, 33, 33), np.float32), np.ones((256, 512, 3, 3), np.float32)
    options = {"padding": 12, "dilation": 12, "algorithm": "implicit_gemm"}
    convkit.conv2d(x[:, :8], weight[:8, :8], **options)
    before = status("VmData")
    for outputs in (64, 128, 192, 256):
        print(convkit.explain("conv2d", x.shape, (outputs, *weight.shape[1:]), **options).workspace)
        convkit.conv2d(x, weight[:outputs], **options)
    print(status("VmData") - before)


def test_a_workspace_grows():
    """One caller keeps one, the largest."""
    *needed, kept = map(int, run(growing_workspaces).split())
    assert needed == sorted(needed) and sum(needed) > 2 * needed[-1]
    assert kept < 1.2 * needed[-1]


# ---- guard pages ----


def guarded(isa):
    """Every operand and result flush against unreadable pages, before and after: one byte too far is a crash."""
    import itertools

    import convkit
    from cases import GRADIENTS, LAYOUTS, arrange, everything, in_turn, random_data
    from guards import flush, release
    from problems import Problem, named

    convkit.set_isa(isa)

    names = (
        "odd_sizes", "primes", "tails_19_13", "tails_29_65", "tails_153_207", "1x1", "1x1_s2", "1x1_s2_wide",
        "1x1_two_k_blocks", "1x1_padded_s3", "one_output", "two_outputs", "one_input", "single_pixel",
        "stride_over_kernel", "kernel_over_image", "dilated_strided", "asymmetric_s2", "small_images_s2",
        "grouped_odd", "grouped_narrow", "depthwise", "depthwise_s2", "depthwise_x3", "depthwise_31", "reflect_max",
        "circular_max", "replicate_far", "1d_s4_d3", "1d_long", "3d_mixed", "over_k_block", "many_pixel_blocks",
        "tiny_digits",
    )  # fmt: skip
    widths = (1, 2, 3, 7, 15, 16, 17, 31, 33)
    shapes = named(*names) + tuple(Problem(f"width_{w}", 1, 5, (3, w), w, (2, 3), 1, 1) for w in widths)
    for problem in shapes:
        # "auto" is one of the others, but for the direct kernels of groups.
        algorithms = ("implicit_gemm", "im2col", "auto")[: 3 if problem.groups > 1 else 2]
        places = (("float32", "NCHW"), ("float32", "NHWC"), ("float64", *in_turn(problem, LAYOUTS)))
        for (dtype, layout), algorithm in itertools.product(places, algorithms):
            data = random_data(problem, dtype)
            expected = everything(data, layout, algorithm=algorithm)
            wanted = {name: arrange(a, layout) if name in "xy" else a for name, a in expected.items()}
            options = problem.arguments | {"layout": layout, "algorithm": algorithm}
            for at_end in (True, False):
                print(problem.name, dtype, layout, algorithm, at_end, flush=True)
                x, grad = (flush(arrange(a, layout), at_end) for a in (data.x, data.grad))
                weight, bias = flush(data.weight, at_end), flush(data.bias, at_end)
                outs = [flush(0 * wanted[name], at_end) for name in ("y", *GRADIENTS)]
                getattr(convkit, problem.forward)(x, weight, bias, out=outs[0], **options)
                getattr(convkit, problem.backward)(grad, x, weight, out=tuple(outs[1:]), **options)
                for got, name in zip(outs, ("y", *GRADIENTS), strict=True):
                    assert got.tobytes() == wanted[name].tobytes(), f"{problem}: {name}"
                release()
    print("unharmed")


@pytest.mark.thorough
@pytest.mark.parametrize("isa_name", convkit.available_isas())
def test_guard_pages(isa_name):
    assert run(guarded, isa_name).endswith("unharmed\n")


def guarded_rows():
    """Weights that are read where they are, in whole lines of them."""
    import itertools

    import numpy as np

    import convkit
    from convkit._ext import engine
    from guards import flush, release

    engine.take_arrangements("unpacked")
    rng = np.random.default_rng(0)
    places = itertools.product(convkit.available_isas(), ("float32", "float64"), (16, 37, 1024), (1, 7, 21, 32), (0, 1))
    for isa, dtype, features, outputs, at_end in places:
        convkit.set_isa(isa)
        x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in ((3, features), (outputs, features), outputs))
        expected = convkit.linear(x, weight, bias)
        back = convkit.linear_backward(expected, x, weight, need="x").x
        x, weight, bias, y = (flush(array, at_end) for array in (x, weight, bias, expected))
        assert convkit.linear(x, weight, bias).tobytes() == expected.tobytes()
        assert convkit.linear_backward(y, x, weight, need="x").x.tobytes() == back.tobytes()
        release()
    print("unharmed")


def guarded_in_place():
    """Where nothing is padding, the input that is read where it is has the bits of a window, and no vector reaches
    beyond it. Short rows, strides, dilation, a kernel that is cut."""
    import itertools

    import numpy as np

    import convkit
    from cases import LAYOUTS, arrange
    from convkit._ext import engine
    from guards import flush, release

    layers = (
        ((2, 6, 20, 23), (10, 3, 3, 2), {"groups": 2}),
        ((1, 9, 40, 20), (3, 9, 6, 6), {"dilation": 2}),
        ((1, 4, 9, 33), (2, 4, 2, 3), {"stride": (2, 1)}),
        ((2, 5, 17, 31), (2, 5, 4, 5), {"stride": 3}),
        ((1, 3, 700), (20, 3, 5), {}),
        ((2, 3, 6, 7, 9), (5, 3, 2, 3, 2), {}),
        ((1, 8, 30, 40), (4, 8, 21, 21), {}),
        ((2, 5, 17, 19), (5, 1, 4, 3), {"groups": 5}),
        ((2, 2, 11, 150), (2, 1, 3, 3), {"groups": 2}),
        ((1, 2, 9, 70), (2, 1, 5, 5), {"groups": 2, "dilation": 2}),
        ((2, 4, 15, 20), (1, 4, 3, 3), {"dilation": (2, 1)}),
        ((1, 3, 5, 9, 13), (3, 1, 2, 3, 4), {"groups": 3, "stride": (1, 2, 1)}),
        *(((1, 2, 31 + taps), (2, 1, taps), {"groups": 2}) for taps in (5, 9, 17, 33)),  # a tap beyond some vectors
    )
    places = itertools.product(convkit.available_isas(), ("float32", "float64"), LAYOUTS, layers, (0, 1))
    rng = np.random.default_rng(0)
    for isa, dtype, layout, (x_shape, weight_shape, options), at_end in places:
        convkit.set_isa(isa)
        op = f"conv{len(x_shape) - 2}d"
        options = options | {"layout": layout, "algorithm": "implicit_gemm"}
        x = flush(arrange(rng.standard_normal(x_shape).astype(dtype), layout), at_end)
        weight = rng.standard_normal(weight_shape).astype(dtype)
        results = {}
        for taken in itertools.product(("by_pixel", "by_channel"), ("window", "input")):
            engine.take_arrangements(taken[0], reads=taken[1])
            told = convkit.explain(op, x.shape, weight_shape, **options, dtype=dtype)
            results[told.arrangement, told.reads] = getattr(convkit, op)(x, weight, **options).tobytes()
        assert len(set(results.values())) == 1, f"{x_shape}, {weight_shape}, {options}, {dtype}, {isa}"
        assert len(results) == 4 - (layout == "NHWC" or options.get("stride") == 3), str(list(results))
        release()
    print("unharmed")


def guarded_sheets():
    """Sheets read planes where they are: vectors at the sides of the first and the last one reach beyond."""
    import itertools

    import numpy as np

    import convkit
    from cases import random_data
    from convkit._ext import engine
    from guards import flush, release
    from problems import PLANES

    for problem, dtype in itertools.product(PLANES, ("float32", "float64")):
        if problem.kernel not in ((3, 3), (1, 3, 3)) or problem.padding_mode != "zeros":
            continue
        data = random_data(problem, dtype)
        engine.take_arrangements("by_pixel")
        operator, back = getattr(convkit, problem.forward), getattr(convkit, problem.backward)
        expected = operator(data.x, data.weight, data.bias, **problem.arguments)
        slope = back(data.grad, data.x, data.weight, need="x", **problem.arguments).x
        engine.take_arrangements("sheets")
        for isa, at_end in itertools.product(convkit.available_isas(), (0, 1)):
            convkit.set_isa(isa)
            shapes = (problem.forward, data.x.shape, data.weight.shape)
            told = convkit.explain(*shapes, dtype=dtype, **problem.arguments).arrangement
            assert told == "sheets" or expected.shape[-1] <= 8, (problem, dtype, isa)  # half of the longest vector
            x, grad, weight, y = (flush(a, at_end) for a in (data.x, data.grad, data.weight, 0 * expected))
            operator(x, weight, data.bias, out=y, **problem.arguments)
            np.testing.assert_allclose(y, expected, 1e-4, 1e-4)
            dx = back(grad, x, weight, need="x", **problem.arguments).x
            np.testing.assert_allclose(dx, slope, 1e-4, 1e-4)
            release()
        convkit.set_isa(convkit.available_isas()[-1])
    print("unharmed")


@pytest.mark.thorough
@pytest.mark.parametrize("body", [guarded_rows, guarded_in_place, guarded_sheets])
def test_guard_pages_of_what_is_read_in_place(body):
    assert run(body).endswith("unharmed\n")


# ---- arrays larger than memory ----


def test_past_two_to_the_31_elements(tmp_path):
    """Offsets need 64 bits along every axis: a sparse file of 2^31 numbers, of which long strides read a few."""
    step, count = 2**27, 17
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 4 * (step * (count - 1) + 4096))
    x = np.memmap(path, np.float32, "r+")
    values = x[::step] = np.arange(1, count + 1, dtype=np.float32)
    x, weight = x[: step * (count - 1)], np.array([2, 3, 5, 7], np.float32)
    table = values[:16].reshape(4, 4)

    flat, plane, taps = x.reshape(1, 1, -1), x.reshape(1, 1, -1, 2**15), weight.reshape(1, 1, 4)
    for image, kernel, sizes, products in (
        (flat, taps, {"stride": step, "dilation": 4 * step}, table.T),  # taps 2^31 bytes apart
        (flat, taps, {"stride": 4 * step, "dilation": step}, table),  # outputs 2^31 bytes apart
        (plane, taps[..., None], {"stride": (2**12, 2**15), "dilation": (2**14, 1)}, table.T),
    ):
        name = f"conv{image.ndim - 2}d"
        operator, gradient = getattr(convkit, name), getattr(convkit, name + "_backward")
        for algorithm in ("implicit_gemm", "im2col"):
            y = operator(image, kernel, algorithm=algorithm, **sizes)
            assert np.array_equal(y[0, 0].ravel(), products @ weight)
            grads = gradient(np.ones_like(y), image, kernel, need="weight", algorithm=algorithm, **sizes)
            assert np.array_equal(grads.weight.ravel(), products.sum(axis=0))

    # Images and channels 2^29 bytes apart; 300 taps, so that the channels are summed in several blocks.
    images, channels = x.reshape(16, 1, -1), x.reshape(1, 16, -1)
    assert np.array_equal(convkit.conv1d(images, weight[:1].reshape(1, 1, 1), stride=step).ravel(), 2 * values[:16])
    ones = np.ones((1, 16, 300), np.float32)
    assert convkit.conv1d(channels, ones, stride=step).tolist() == [[[values[:16].sum()]]]


def test_virtual_giants():
    """Arrays of stride 0 and more elements than memory has bytes are read where that is all they need ..."""
    x = np.broadcast_to(np.float32(2), (1, 1, 2**20, 2**20))
    weight = np.ones((1, 1, 1, 1), np.float32)
    assert np.array_equal(convkit.conv2d(x, weight, stride=2**18), np.full((1, 1, 4, 4), 2, np.float32))


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "options", "error"),
    (
        ((2**31, 8, 2**10, 2**10), (3, 8, 1, 1), {}, MemoryError),  # 2**54 bytes of output
        ((1, 1, 2**30, 2**30), (8, 1, 1, 1), {}, OverflowError),  # 2**63 elements
        (
            (1, 1, 2**30, 2**30),
            (7, 1, 1, 1),
            {},
            (OverflowError, MemoryError),
        ),  # fewer, but more bytes than 64 bits count
        ((1, 8, 4, 4), (3, 8, 1, 1), {"padding": 2**40}, (OverflowError, MemoryError)),
        ((1, 8, 4, 4), (3, 8, 1, 1), {"padding": 2**62}, OverflowError),
        ((1, 8, 4, 4), (3, 8, 1, 1), {"padding": ((0, 2**62), (2**62, 2**62))}, OverflowError),
        ((1, 8, 4, 4), (3, 8, 3, 3), {"dilation": 2**62}, (OverflowError, ValueError)),
        ((1, 8, 4, 4), (3, 8, 1, 1), {"stride": 2**63}, OverflowError),
    ),
)
def test_sizes_past_everything(x_shape, weight_shape, options, error):
    """... and refused at once, with nothing written, where the result could not exist."""
    x, weight = np.broadcast_to(np.float32(0), x_shape), np.zeros(weight_shape, np.float32)
    out = np.full((1, 3, 4, 4), 7, np.float32)
    with pytest.raises(error):
        convkit.conv2d(x, weight, **options)
    with pytest.raises((OverflowError, ValueError)):  # out cannot have the shape
        convkit.conv2d(x, weight, out=out, **options)
    assert (out == 7).all()
