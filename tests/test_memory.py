"""Memory of freed results: what is kept, given out again and returned; and that results are like all other arrays."""

import copy
import functools
import os
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit._arrays import empty
from convkit._ext import engine
from convkit._memory import number_of_bytes

MIB = 2**20


def result(mib):
    return empty((int(mib * MIB),), np.dtype(np.int8))


def place(array):
    return array.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def nothing_kept():
    before = convkit.get_cache_limit()
    convkit.set_cache_limit("32MiB")
    convkit.clear_cache()
    yield
    convkit.set_cache_limit(before)


def test_a_freed_result_is_the_next_ones_memory():
    x, weight = np.ones((1, 4, 300, 300), np.float32), np.ones((4, 4, 3, 3), np.float32)
    y = convkit.conv2d(x, weight, padding=1)
    first = place(y)
    row = y[0, 0, 0]
    del y
    assert engine.cached_bytes() == 0  # a view keeps it
    del row
    assert engine.cached_bytes() == x.nbytes
    assert place(convkit.conv2d(x, weight, padding=1)) == first
    assert place(convkit.conv2d_backward(x, x.shape, weight, padding=1, need="x").x) == first


def test_normalisation_and_activation_in_evaluation_hold_two_activations():
    """With three, ResNet-18's evaluation took 3.4 times its largest activation."""
    x = np.ones((1, 4, 300, 300), np.float32)
    for activation in (nn.ReLU(), nn.Sigmoid()):  # in the normalisation's pass, and apart
        convkit.clear_cache()
        shape = nn.Sequential(*[nn.BatchNorm2d(4), activation] * 3).predict(x).shape
        assert shape == x.shape and engine.cached_bytes() == 2 * x.nbytes


def test_the_documentation_says_from_which_size_on_memory_is_kept():
    least = engine.BLOCK_LEAST
    for bytes in (least - 1, least):
        empty((bytes,), np.dtype(np.int8))
        assert engine.cached_bytes() == (bytes == least) * least
    assert f"{least >> 10} KiB and more" in convkit.set_cache_limit.__doc__


def test_what_fits():
    """The smallest that leaves at most an eighth unused."""
    places = [place(array) for array in [result(4), result(4.25), result(8)]]
    assert engine.cached_bytes() == 16.25 * MIB
    assert [place(result(mib)) for mib in (7, 4.1, 4)] == places[::-1]
    larger = result(6.9)  # would leave more of 8
    assert engine.cached_bytes() == 16.25 * MIB
    assert place(larger) not in places


def test_the_limit():
    places = [place(array) for array in [result(12), result(20)]]
    assert engine.cached_bytes() == 32 * MIB
    del [result(2)][:]
    assert engine.cached_bytes() == 22 * MIB  # the oldest went
    assert place(result(20)) == places[1]
    convkit.set_cache_limit(4 * MIB)
    assert engine.cached_bytes() == 0  # the 2 were older
    for mib in (3, 5, 0.124):  # more than the limit alone; less than what is kept
        del [result(mib)][:]
        assert engine.cached_bytes() == 3 * MIB
    convkit.clear_cache()
    assert (engine.cached_bytes(), convkit.get_cache_limit()) == (0, 4 * MIB)
    convkit.set_cache_limit(0)
    del [result(1)][:]
    assert engine.cached_bytes() == 0
    convkit.set_cache_limit("1GiB")
    del [result(0.25) for _ in range(270)][:]
    assert engine.cached_bytes() == 64 * MIB  # nor more than that many


def test_ordinary_arrays():
    """They own their memory, in which NumPy works as in its own, and are the only ones that have it from here."""
    array, handler = result(2), np._core.multiarray.get_handler_name
    assert (type(array), array.base, array.flags.owndata, array.flags.writeable) == (np.ndarray, None, True, True)
    assert place(array) % 64 == 0
    array[:] = np.arange(array.size)
    assert all(np.array_equal(again, array) for again in (pickle.loads(pickle.dumps(array)), copy.deepcopy(array)))
    expected = np.concatenate([array, np.zeros(array.size, np.int8)])
    for size in (2 * array.size, 10):
        array.resize(size, refcheck=False)
        assert np.array_equal(array, expected[:size])
    assert engine.cached_bytes() == 6 * MIB
    with pytest.raises(MemoryError, match=f"cannot allocate {2**62} bytes for a int8 array of shape"):
        result(2**42)
    assert handler(array) == "convkit" != handler(np.empty(2 * MIB))
    assert empty((0, 5), np.dtype(np.float32)).shape == (0, 5)


@pytest.mark.thorough
def test_refused_memory_is_asked_for_again_without_what_is_kept(python):
    code = """if True:
        import resource, numpy as np, convkit
        from convkit._arrays import empty
        size = 100 * 2**20
        del [empty((size,), np.dtype(np.int8))][:]
        used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
        resource.setrlimit(resource.RLIMIT_AS, (used + size // 2, -1))
        larger = empty((size + size // 4,), np.dtype(np.int8))
        try:
            empty((size,), np.dtype(np.int8))
        except MemoryError as error:
            print(error)
    """
    done = python(code)
    assert done.stdout == f"cannot allocate {100 * MIB} bytes for a int8 array of shape ({100 * MIB},)\n", done.stderr


@pytest.mark.thorough
def test_threads_and_forks():
    """Nobody is given what another still has; a child, forked meanwhile, begins with nothing and keeps its own."""
    convkit.set_cache_limit("8MiB")
    failures = []

    def work(number, turns=12):
        for turn in range(turns):
            array = result(1 + (number + turn) % 3)
            array[:] = number
            if not (array == number).all():
                failures.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    del [result(4)][:]
    for worker in workers:
        worker.start()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            clean = engine.cached_bytes() == 0
            work(7, turns=3)
            os._exit(int(not clean or failures != [] or engine.cached_bytes() != 6 * MIB))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for worker in workers:
        worker.join()
    assert not failures
    assert 0 < engine.cached_bytes() <= 8 * MIB


@pytest.mark.thorough
def test_arrays_outlive_the_interpreters_end(python):
    code = "import builtins, numpy, convkit; builtins.y = convkit.im2col(numpy.ones((1, 9, 300, 300)), 3)"
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- numbers of bytes


def test_bytes():
    for value, expected in {
        0: 0, np.int32(7): 7, "12": 12, "12 B": 12, "3kB": 3000, "3KB": 3000, "3KiB": 3072, "64MB": 64_000_000,
        " 1.5 GiB ": 3 * 2**29, "2TB": 2 * 10**12, 2**63 - 1: 2**63 - 1,
    }.items():  # fmt: skip
        assert number_of_bytes(value, "bytes") == expected, value


@pytest.mark.parametrize(
    ("value", "error", "got"),
    [
        (-1, ValueError, "-1"),
        ("-1", ValueError, "'-1'"),
        ("", ValueError, "''"),
        ("MiB", ValueError, "'MiB'"),
        ("1 mib", ValueError, "'1 mib'"),
        ("1e6", ValueError, "'1e6'"),
        ("\u0661", ValueError, "'\u0661'"),
        ("9000000TiB", OverflowError, "'9000000TiB'"),
        (2**63, OverflowError, str(2**63)),
        (True, TypeError, "True of type bool"),
        (1.5, TypeError, "1.5 of type float"),
        (None, TypeError, "None of type NoneType"),
    ],
)
def test_no_bytes(value, error, got):
    before = convkit.get_cache_limit()
    with pytest.raises(error, match=f"^bytes must .*, got {got}$"):
        convkit.set_cache_limit(value)
    assert convkit.get_cache_limit() == before


@pytest.mark.thorough
def test_the_variable(imports):
    given = ("", "3MiB", "0", "much", "9000000TiB")
    *limits, error, huge = imports(*(("convkit.get_cache_limit()", {"CONVKIT_CACHE_LIMIT": value}) for value in given))
    assert limits == [str(128 * MIB), str(3 * MIB), "0"]
    expected = 'CONVKIT_CACHE_LIMIT must be a number of bytes such as "64MB" or "64MiB"'
    assert error == f"RuntimeError: {expected}, got 'much'"
    assert huge == "RuntimeError: CONVKIT_CACHE_LIMIT must be at most 2**63 - 1 bytes, got '9000000TiB'"


# ---------------------------------------------------------------- workspace_limit

LIMITED = [
    ("conv2d", (64, 28, 28), (64, 64, 3, 3), {"padding": 1}),  # Winograd
    ("conv2d", (64, 28, 28), (64, 64, 3, 3), {"padding": 1, "algorithm": "implicit_gemm"}),
    ("conv2d", (32, 28, 28), (32, 1, 5, 5), {"padding": 2, "groups": 32}),
    ("conv_transpose2d", (32, 14, 14), (32, 16, 4, 4), {"stride": 2, "padding": 1}),
    ("conv_transpose2d", (90, 17, 17), (90, 4, 7, 7), {"stride": 3, "dilation": 2, "padding": 6}),  # packed once
]


@pytest.mark.parametrize(("name", "shape", "weight_shape", "options"), LIMITED)
def test_a_limit_leaves_the_bits_alone(name, shape, weight_shape, options):
    """Down to where nothing fits: then a MemoryError says what would, and a limit of just that much is enough."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, *shape), np.float32), rng.standard_normal(weight_shape, np.float32)
    forward, backward = getattr(convkit, name), getattr(convkit, name + "_backward")
    with convkit.threads(3):
        y = forward(x, weight, **options)
        expected = [y, *backward(y, x, weight, **options)]
        for limit in ("4MiB", 600_000, "200kB"):
            with convkit.workspace_limit(limit):
                got = [forward(x, weight, **options), *backward(y, x, weight, **options)]
            assert all(a.tobytes() == b.tobytes() for a, b in zip(got, expected, strict=True)), limit
        with convkit.workspace_limit(0), pytest.raises(MemoryError, match=r"needs .* (\d+) bytes") as refusal:
            forward(x, weight, **options)
        with convkit.workspace_limit(int(re.search(r"(\d+) bytes", str(refusal.value))[1])):
            assert forward(x, weight, **options).tobytes() == y.tobytes()


LEAST = [  # other arrangements than the fastest take less
    ("conv_transpose2d", (20, 12, 12), (20, 33, 3, 3), {"stride": (1, 2)}),
    ("conv_transpose2d", (90, 17, 17), (90, 4, 7, 7), {"stride": 3, "dilation": 2, "padding": 6}),
    ("conv2d", (64, 20, 20), (3, 64, 3, 3), {}),
]


@pytest.mark.parametrize(("name", "shape", "weight_shape", "options"), LEAST)
def test_what_a_memory_error_names_is_the_least(name, shape, weight_shape, options):
    x, weight = np.ones((1, *shape), np.float32), np.ones(weight_shape, np.float32)
    call = functools.partial(getattr(convkit, name), x, weight, algorithm="implicit_gemm", **options)
    with convkit.workspace_limit(0), pytest.raises(MemoryError, match=r"(\d+) bytes, over its limit of 0$") as refusal:
        call()
    least = int(re.search(r"(\d+) bytes", str(refusal.value))[1])
    for part in (0.5, 0.9, 1):
        with convkit.workspace_limit(int(least * part) - 1), pytest.raises(MemoryError, match=f"of {least} bytes"):
            call()
    with convkit.workspace_limit(least):
        call()


JOINED = [  # gradients of weights whose sums over parts of the pixels are joined
    ("conv1d", (9, 48, 1472), (27, 16, 3), {"padding": 1, "groups": 3}),
    ("conv_transpose2d", (9, 39, 68, 3), (3, 40, 1, 2), {"stride": 3, "layout": "NHWC"}),
    ("conv2d", (9, 16, 26, 67), (16, 16, 3, 3), {"padding": 1}),  # Winograd
]


@pytest.mark.parametrize(("name", "shape", "weight_shape", "options"), JOINED)
def test_sums_that_are_joined_fit_the_limit_to_the_byte(name, shape, weight_shape, options):
    x, weight = np.ones(shape, np.float32), np.ones(weight_shape, np.float32)
    gradient = functools.partial(getattr(convkit, name + "_backward"), need="weight", **options)
    y = getattr(convkit, name)(x, weight, **options)
    expected = gradient(y, x, weight).weight
    for threads in (1, 2):
        with convkit.threads(threads):
            with convkit.workspace_limit(0), pytest.raises(MemoryError, match=r"needs .* (\d+) bytes") as refusal:
                gradient(y, x, weight)
            with convkit.workspace_limit(int(re.search(r"(\d+) bytes", str(refusal.value))[1])):
                assert gradient(y, x, weight).weight.tobytes() == expected.tobytes()


def test_weights_that_are_packed_once_fit_the_limit_to_the_byte():
    """Else each task packs its own, in less: the call needs nothing like what it would take without a limit."""
    x, weight = np.ones((1, 48, 33, 38), np.float32), np.ones((48, 48, 4, 4), np.float32)
    with convkit.threads(1):
        free = convkit.explain("conv2d", x.shape, weight.shape, algorithm="implicit_gemm").workspace
        assert free > weight.nbytes
        for less in (1, 8, 60):
            with convkit.workspace_limit(free - less):
                assert convkit.conv2d(x, weight, algorithm="implicit_gemm")[0, 0, 0, 0] == 768


def test_a_limit_holds_for_every_family_and_the_calling_thread_alone():
    x = np.ones((2, 16, 32, 32), np.float32)
    grid = np.zeros((2, 8, 8, 2), np.float32)
    calls = [
        lambda: convkit.max_pool2d(x, 3, 2),
        lambda: convkit.interpolate(x, size=(64, 48), mode="bicubic"),
        lambda: convkit.grid_sample(x, grid),
        lambda: convkit.deform_conv2d(x, np.zeros((2, 18, 30, 30), np.float32), np.ones((4, 16, 3, 3), np.float32)),
    ]
    with convkit.workspace_limit(0):
        for call in calls:
            with pytest.raises(MemoryError, match="over its limit"):
                call()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(calls[0]).result().shape == (2, 16, 15, 15)
        with convkit.workspace_limit("1GiB"):
            calls[0]()
    with pytest.raises(ValueError, match="bytes must be a number of bytes"):
        convkit.workspace_limit("much")


def test_scratch_of_a_long_signal_with_adjacent_channels_does_not_follow_from_its_length():
    x, weight = np.ones((1, 200_000, 16), np.float32), np.ones((16, 1, 3), np.float32)
    with convkit.workspace_limit("300KiB"):
        y = convkit.conv1d(x, weight, padding=1, groups=16, layout="NHWC")
    assert y.shape == x.shape and (y[0, 1:-1] == 3).all() and (y[0, [0, -1]] == 2).all()
