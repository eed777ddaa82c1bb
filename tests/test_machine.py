"""The measured peak and the shown configuration."""

import importlib.metadata
import json
import math
from pathlib import Path

import pytest

import convkit
from convkit import _probe
from convkit._ext import engine


@pytest.mark.thorough
def test_peak_of_every_instruction_set(isa):
    peak = convkit.machine_peak(threads=[1, 2], seconds=0.005)
    assert peak.isa == isa
    assert list(peak.gflops) == ["float32", "float64"]
    for rates in peak.gflops.values():
        assert list(rates) == [1, 2]
        assert all(math.isfinite(rate) and rate > 0 for rate in rates.values())
    assert math.isfinite(peak.triad)
    assert peak.triad > 0


@pytest.mark.thorough
def test_peak_counts_the_threads_of_the_caller():
    with convkit.threads(3):
        peak = convkit.machine_peak(dtypes=["float64"], seconds=0.002)
    assert list(peak.gflops) == ["float64"]
    assert list(peak.gflops["float64"]) == [1, 3]


def test_peak_reads_well():
    peak = convkit.Peak("avx2", {"float32": {1: 130.4, 2: 259.6}}, 48.7)
    assert str(peak).splitlines() == [
        "peak of this machine (avx2):",
        "  float32, 1 thread: 130 GFLOP/s",
        "  float32, 2 threads: 260 GFLOP/s",
        "  triad: 49 GB/s",
    ]


def test_a_busy_moment_is_no_peak(monkeypatch):
    """The highest of several bursts counts, and of several threads, which cannot do less than one."""
    rates = iter([10e9, 4e9, 10e9, 19e9, *[3e9] * 6])  # on one thread and on two, in turn
    monkeypatch.setattr(engine, "measure_fma", lambda dtype, threads, seconds: next(rates))
    monkeypatch.setattr(engine, "measure_triad", lambda *_: 1e9)
    assert convkit.machine_peak(dtypes=["float32"], threads=[1, 2], seconds=0).gflops["float32"] == {1: 10, 2: 19}
    rates = iter([10e9, 4e9] * 5)
    assert convkit.machine_peak(dtypes=["float32"], threads=[1, 2], seconds=0).gflops["float32"] == {1: 10, 2: 10}


@pytest.mark.parametrize(
    ("later", "moved"), [((95, 10), False), ((120, 10), True), ((80, 10), True), ((100, 12), True)]
)
def test_a_peak_that_moves_is_noted_and_the_highest_taken(monkeypatch, later, moved):
    seen = iter(convkit.Peak("", {"float32": {2: rate}}, triad) for rate, triad in ((100, 10), later))
    monkeypatch.setattr(_probe, "machine_peak", lambda **options: next(seen))
    monkeypatch.setattr(_probe, "_switches", lambda: 0)
    probe = _probe.Probe("float32", 2)
    probe.renew()
    assert (probe.best, probe.triad, probe.disturbed) == (max(100, later[0]), max(10, later[1]), moved)


def test_a_roof_is_settled_by_measurements_that_find_nothing_higher_and_raised_at_the_end_alone(monkeypatch):
    rates = iter([(100, 10), (90, 12), (100, 12), (130, 9), (130, 12), (130.1, 12), (99, 9), (130.2, 12), (140, 11)])
    peaks = (convkit.Peak("", {"float32": {1: rate}}, triad) for rate, triad in rates)
    monkeypatch.setattr(_probe, "machine_peak", lambda **options: next(peaks))
    monkeypatch.setattr(engine, "measure_fma", lambda *_: 150e9)
    probe = _probe.Probe("float32", 1)
    roof = probe.settle()
    assert roof is probe.roof and str(roof) == "peak 130 GFLOP/s, triad 12 GB/s"
    assert not probe.renew() and roof.gflops == 130.1
    probe()
    assert (probe.best, roof.gflops) == (150, 130.1)
    assert probe.renew() and roof == _probe.Roof(150, 12)


@pytest.mark.parametrize(
    ("interruptions", "disturbed"), [([0, 0], False), ([99, 0], False), ([0, 99], False), ([99, 99], True)]
)
def test_a_peak_that_was_always_interrupted_is_noted(monkeypatch, interruptions, disturbed):
    counts = iter([0, interruptions[0], 0, interruptions[1]])
    monkeypatch.setattr(_probe, "machine_peak", lambda **options: convkit.Peak("", {"float32": {1: 100}}, 10))
    monkeypatch.setattr(_probe, "_switches", lambda: next(counts))
    probe = _probe.Probe("float32", 1)
    probe.renew()
    assert probe.disturbed == disturbed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtypes": "float32"}, "dtypes must be a sequence of names of dtypes, got 'float32' of type str"),
        ({"threads": 2}, "threads must be a sequence of ints, got 2 of type int"),
        ({"threads": [2.5]}, "threads must be a sequence of ints, got 2.5 of type float"),
        ({"seconds": "a"}, "seconds must be a finite number of at least 0, got 'a' of type str"),
        ({"seconds": -1}, "seconds must be a finite number of at least 0, got -1"),
        ({"dtypes": ["float16"]}, "dtypes must be of 'float32' and 'float64', got 'float16'"),
        ({"threads": []}, r"threads must be numbers of threads from 1 to 1024, got \[\]"),
        ({"threads": [2, 0]}, r"threads must be numbers of threads from 1 to 1024, got \[2, 0\]"),
        ({"threads": [2000]}, r"threads must be numbers of threads from 1 to 1024, got \[2000\]"),
    ],
)
def test_peak_refuses(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        convkit.machine_peak(**arguments)


def test_a_triad_of_almost_nothing():
    rate = engine.measure_triad(64, 4, 0.001)
    assert math.isfinite(rate)
    assert rate > 0


# ---------------------------------------------------------------- configuration


@pytest.mark.thorough
def test_config_says_how_it_is(python):
    """In a process whose environment decides what can be decided, and in a forked child of it."""
    code = """
import json, os, convkit
print(json.dumps(convkit.show_config("dicts")))
convkit.show_config()
child = os.fork()
if child == 0:
    os._exit(10 + convkit.show_config("dicts")["threads"]["after_fork"])
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 11
"""
    done = python(code, CONVKIT_ISA="generic", CONVKIT_NUM_THREADS="3", OMP_NUM_THREADS="5")
    assert done.returncode == 0, done.stderr
    dicts, _, text = done.stdout.partition("\n")
    config = json.loads(dicts)
    assert config["versions"] == {"convkit": convkit.__version__, "numpy": importlib.metadata.version("numpy")}
    assert config["isa"].pop("fma_per_cycle") in (1, 2)
    assert config["isa"] == {"current": "generic", "available": ["generic"]}
    built = Path(engine.__file__).read_bytes()
    openmp = b"GOMP_parallel" in built or b"__kmpc_fork_call" in built  # what GCC's and Clang's code call
    assert config["build"]["threading"] == ["pool", "openmp"][: 1 + openmp]
    runs = {"run_by": ("pool", "openmp")[openmp], "openmp": openmp, "after_fork": False}
    assert config["threads"] == {"number": 3, "source": "CONVKIT_NUM_THREADS"} | runs
    assert config["memory"] == {"cache_limit": 128 * 2**20, "cached": 0}
    assert config["build"]["compiler"].split()[0] in ("gcc", "clang")
    assert "generic" in config["build"]["isas"]
    assert "memory:\n  cache_limit: 128 MiB\n  cached: 0 MiB\n" in text
    assert "isa:\n  current: generic\n  available: generic\n  fma_per_cycle: " in text
    assert "\nthreads:\n  number: 3\n" in text


def test_config_says_what_the_planner_counts_on(isa):
    assert convkit.show_config("dicts")["isa"]["fma_per_cycle"] in (1, 2)


@pytest.mark.parametrize("mode", ["dict", "", None])
def test_config_refuses(mode):
    with pytest.raises(ValueError, match="mode must be 'stdout' or 'dicts', got"):
        convkit.show_config(mode)
