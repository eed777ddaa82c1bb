"""How many threads: the environment at import, the process-wide number, and the calling thread's own."""

import contextvars
import os
import threading

import pytest

import convkit
from convkit import _mode, _threads, nn
from convkit._ext import engine

COUNT = "convkit.get_num_threads()"
CORES = _threads._allowed_cores()[0]  # where neither variable decides


@pytest.fixture(autouse=True)
def keep_the_number():
    before = convkit.get_num_threads()
    yield
    convkit.set_num_threads(before)


# ---------------------------------------------------------------- the environment


@pytest.mark.thorough
def test_variables(imports):
    expected = {
        ("3", "5"): 3,
        (" 7 ", ""): 7,
        ("64", "2"): 64,
        ("", "5"): 5,
        ("", "4,2"): 4,
        ("", " 6 , 1"): 6,
        ("", ""): CORES,
        ("", "0"): CORES,  # what OpenMP cannot use is left to OpenMP to report
        ("", "-2"): CORES,
        ("", "many"): CORES,
        ("", "9" * 5000): CORES,
        ("", "999999"): 999999,
    }
    given = [{"CONVKIT_NUM_THREADS": own, "OMP_NUM_THREADS": openmp} for own, openmp in expected]
    got = imports(*((COUNT, environment) for environment in given))
    assert dict(zip(expected, map(int, got), strict=True)) == expected


@pytest.mark.thorough
def test_a_variable_of_ours_that_is_no_number_fails_the_import(imports):
    values = ("0", "-1", "two", "1.5", "4,2", "2147483648", "9" * 5000, "\u00b2")
    for text in imports(*((COUNT, {"CONVKIT_NUM_THREADS": value}) for value in values)):
        expected = "RuntimeError: CONVKIT_NUM_THREADS must be a number of threads from 1 to 2147483647, got '"
        assert text.startswith(expected)


@pytest.mark.thorough
def test_affinity(python):
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); import convkit; print({COUNT})"
    assert python(code, OMP_NUM_THREADS="").stdout.strip() == "1"


def cgroups(root, own, **files):
    """A file system with /proc/self/cgroup and files of /sys/fs/cgroup; __ in a name stands for /."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    for name, text in files.items():
        path = (
            root / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs_", "cpu.cfs_")
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/job/step\n", {"job__step__cpu_max": "150000 100000\n"}, 1.5),
        ("0::/job/step\n", {"job__step__cpu_max": "max 100000\n", "job__cpu_max": "300000 100000\n"}, 3),  # a parent's
        ("0::/job\n", {"job__cpu_max": "400000 100000\n", "cpu_max": "200000 100000\n"}, 2),  # the least of them
        ("0::/../outside\n", {"cpu_max": "50000 100000\n"}, 0.5),  # in a container the group is the mount itself
        ("0::/\n", {"cpu_max": "max 100000\n"}, float("inf")),
        ("0::/\n", {"cpu_max": "nonsense\n"}, float("inf")),
        ("0::/\n", {}, float("inf")),
        ("4:cpu,cpuacct:/job\n1:name=systemd:/\n",
         {"cpu__job__cfs_quota_us": "250000\n", "cpu__job__cfs_period_us": "100000\n"}, 2.5),
        ("4:cpu,cpuacct:/job\n",
         {"cpu,cpuacct__cfs_quota_us": "100000\n", "cpu,cpuacct__cfs_period_us": "50000\n"}, 2),
        ("4:cpu:/job\n", {"cpu__job__cfs_quota_us": "-1\n", "cpu__job__cfs_period_us": "100000\n"}, float("inf")),
        ("5:cpuset:/job\n", {"cpuset__job__cfs_quota_us": "1\n", "cpuset__job__cfs_period_us": "1\n"}, float("inf")),
        ("no colons\n", {}, float("inf")),
    ],
)  # fmt: skip
def test_quota(tmp_path, own, files, expected):
    assert _threads.cgroup_cpus(cgroups(tmp_path, own, **files)) == expected


def test_no_cgroups(tmp_path):
    assert _threads.cgroup_cpus(str(tmp_path)) == float("inf")


# ---------------------------------------------------------------- the process and the calling thread


def test_set_and_get():
    for n in (1, 2, 1000, 10**9):  # may exceed the cores
        convkit.set_num_threads(n)
        assert convkit.get_num_threads() == n
        assert _threads.current() == min(n, 1024)  # no call starts more


def test_threads_is_for_the_calling_thread_alone():
    convkit.set_num_threads(2)
    seen = []
    with convkit.threads(5):
        assert convkit.get_num_threads() == 5
        with convkit.threads(1):
            assert convkit.get_num_threads() == 1
            # An empty context is what a new thread starts with, but in free-threaded builds that copy the caller's.
            other = threading.Thread(target=lambda: seen.append(contextvars.Context().run(convkit.get_num_threads)))
            other.start()
            other.join()
            convkit.set_num_threads(3)
            assert convkit.get_num_threads() == 1
        assert convkit.get_num_threads() == 5
    assert convkit.get_num_threads() == 3
    assert seen == [2]


@pytest.mark.thorough
def test_who_decided(imports):
    environments = {"CONVKIT_NUM_THREADS": "2", "OMP_NUM_THREADS": "3"}, {"OMP_NUM_THREADS": "3"}, {}
    own, openmp, neither = imports(*(("convkit._threads.source()", environment) for environment in environments))
    assert (own, openmp) == ("CONVKIT_NUM_THREADS", "OMP_NUM_THREADS")
    assert neither in ("affinity", "cgroup")
    convkit.set_num_threads(2)
    assert _threads.source() == "set_num_threads"
    with convkit.threads(2):
        assert _threads.source() == "threads"


def test_threads_ends_with_an_exception():
    before = convkit.get_num_threads()
    with pytest.raises(ZeroDivisionError), convkit.threads(before + 1):
        raise ZeroDivisionError
    assert convkit.get_num_threads() == before


@pytest.mark.parametrize("make", [lambda: convkit.threads(7), convkit.flush_denormals, nn.inference, nn.hooks])
def test_a_context_manager_may_be_entered_again_when_it_was_left(make):
    def state():
        return convkit.get_num_threads(), engine.flush_denormals.get(), nn.keeping(), len(_mode.how.get().hooks)

    outside, context = state(), make()
    for _ in range(2):
        with context:
            inside = state()
            with (
                pytest.raises(RuntimeError, match="must be left before it is entered again; make one for each"),
                context,
            ):
                pass
            assert state() == inside != outside
        assert state() == outside

    @make()
    def depth(n):
        assert state()[:3] == inside[:3]
        return depth(n - 1) + 1 if n else 0

    assert depth(3) == 3 and depth.__name__ == "depth" and state() == outside


@pytest.mark.parametrize("function", [convkit.set_num_threads, convkit.threads])
@pytest.mark.parametrize(
    ("n", "error", "got"),
    [
        (0, ValueError, "0"),
        (-1, ValueError, "-1"),
        (2**31, ValueError, "2147483648"),
        (2**70, OverflowError, "1180591620717411303424"),
        (True, TypeError, "True of type bool"),
        (2.0, TypeError, "2.0 of type float"),
        ("2", TypeError, "'2' of type str"),
        (None, TypeError, "None of type NoneType"),
    ],
)
def test_refused(function, n, error, got):
    before = convkit.get_num_threads()
    with pytest.raises(error, match=f"^n must .*, got {got}$"):
        function(n)
    assert convkit.get_num_threads() == before


@pytest.mark.thorough
def test_it_is_what_a_call_uses(python):
    """A first call on one thread starts no others; one on three starts two, which are kept."""
    code = """if True:
        import os, convkit, numpy as np
        x, w = np.ones((8, 32, 64, 64), np.float32), np.ones((32, 32, 3, 3), np.float32)
        before = len(os.listdir("/proc/self/task"))
        with convkit.threads(1):
            convkit.conv2d(x, w)
        assert len(os.listdir("/proc/self/task")) == before
        with convkit.threads(3):
            convkit.conv2d(x, w)
        assert len(os.listdir("/proc/self/task")) == before + 2
        with convkit.threads(1024):  # no more than there are tasks
            convkit.conv2d(x[:1, :, :16, :16], w)
            tasks = convkit.explain("conv2d", (1, 32, 16, 16), w.shape).tasks
            convkit.linear(x[0, 0, :1], x[0, 0])
        assert len(os.listdir("/proc/self/task")) == before + max(2, tasks - 1) < before + 60
    """
    for way in engine.built_threadings():
        done = python(code, CONVKIT_THREADING=way)
        assert done.returncode == 0, done.stderr
