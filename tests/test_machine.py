"""The measured peak and the shown configuration."""

import math

import numpy as np
import pytest

import convkit
from convkit._ext import engine


def test_peak_of_every_instruction_set(isa):
    peak = convkit.machine_peak(threads=[1, 2], seconds=0.005)
    assert peak.isa == isa
    assert list(peak.gflops) == ["float32", "float64"]
    for rates in peak.gflops.values():
        assert list(rates) == [1, 2]
        assert all(math.isfinite(rate) and rate > 0 for rate in rates.values())
    assert math.isfinite(peak.triad)
    assert peak.triad > 0


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtypes": ["float16"]}, "dtypes must be of 'float32' and 'float64', got 'float16'"),
        ({"threads": []}, r"threads must be numbers of threads from 1 up, got \[\]"),
        ({"threads": [2, 0]}, r"threads must be numbers of threads from 1 up, got \[2, 0\]"),
    ],
)
def test_peak_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        convkit.machine_peak(**arguments)


def test_a_triad_of_almost_nothing():
    assert engine.measure_triad(64, 4, 0.001) > 0


# ---------------------------------------------------------------- configuration


def test_config_as_dicts():
    config = convkit.show_config(mode="dicts")
    assert config["versions"] == {"convkit": convkit.__version__, "numpy": np.__version__}
    assert config["build"]["compiler"].split()[0] in ("gcc", "clang")
    assert config["build"]["isas"] == engine.built_isas()
    assert config["isa"] == {"current": convkit.isa(), "available": convkit.available_isas()}
    threads = config["threads"]
    assert threads["number"] == convkit.get_num_threads()
    assert threads["openmp"] == (config["build"]["threading"] == "openmp")
    assert threads["after_fork"] is False


def test_config_on_stdout(capsys):
    assert convkit.show_config() is None
    out = capsys.readouterr().out
    assert f"convkit: {convkit.__version__}\n" in out
    assert f"available: {', '.join(convkit.available_isas())}\n" in out


@pytest.mark.parametrize("mode", ["dict", "", None])
def test_config_refuses(mode):
    with pytest.raises(ValueError, match="mode must be 'stdout' or 'dicts', got"):
        convkit.show_config(mode)


@pytest.mark.parametrize(
    ("environment", "number", "source"),
    [
        ({"CONVKIT_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3, "CONVKIT_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "5"}, 5, "OMP_NUM_THREADS"),
    ],
)
def test_config_says_what_decided_the_threads(python, environment, number, source):
    done = python("import convkit; print(convkit.show_config('dicts')['threads'])", **environment)
    assert f"'number': {number}, 'source': {source!r}" in done.stdout, done.stderr
