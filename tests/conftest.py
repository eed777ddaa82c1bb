"""What every test may use, and what every run says about the machine it ran on."""

import os
import subprocess
import sys

import pytest

import convkit
from convkit._ext import engine
from convkit.benchmarks import timing

ISAS = ("generic", "neon", "avx2", "avx512")


@pytest.fixture(params=convkit.available_isas())
def isa(request):
    """Each instruction set of this machine in turn, in force for the test."""
    before = convkit.isa()
    convkit.set_isa(request.param)
    yield request.param
    convkit.set_isa(before)


@pytest.fixture
def python(tmp_path):
    """Runs code in an interpreter of its own, away from the source tree: ``python(code, *options, **environment)``."""

    def run(code, *options, **environment):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CONVKIT_")}
        return subprocess.run(
            [sys.executable, "-P", *options, "-c", code],
            cwd=tmp_path,
            env=clean | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def any_isa():
    """Restores the instruction set, which each configuration chooses for itself."""
    isa = convkit.isa()
    yield
    convkit.set_isa(isa)


@pytest.fixture
def brief(monkeypatch):
    """Few and short measurements, of which nobody looks at the figures."""
    for name in ("QUIET_SECONDS", "LONGEST_QUIET_SECONDS", "SETTLE_SECONDS", "BURST_SECONDS", "FULL_SECONDS"):
        monkeypatch.setattr(timing, name, 0.0)
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(timing, "FEW_SWITCHES", 10**9)
    monkeypatch.setattr(timing.engine, "measure_fma", lambda dtype, threads, seconds: 1e14)
    monkeypatch.setattr(timing.engine, "measure_triad", lambda nbytes, threads, seconds: 2e10)


def pytest_report_header():
    absent = [name for name in ISAS if name not in convkit.available_isas()]
    why = ["not built" if name not in engine.built_isas() else "not offered here" for name in absent]
    return [
        f"convkit {convkit.__version__} from {os.path.dirname(convkit.__file__)}, threads: {engine.threading()}",
        f"instruction sets tested: {', '.join(convkit.available_isas())}; "
        f"absent: {', '.join(f'{name} ({reason})' for name, reason in zip(absent, why, strict=True)) or 'none'}",
    ]


# Absent instruction sets are listed above, so nothing is left that a test could rightly be skipped for.


def _skipped(config):
    return config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if count := len(_skipped(config)):
        terminalreporter.write_line(f"FAILED: {count} tests were skipped; there is no reason to skip one", red=True)
