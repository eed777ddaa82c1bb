"""What every test may use, and what every run says about the machine it ran on."""

import gc
import json
import os
import signal
import subprocess
import sys

# The tests ask for more threads than there are cores: those that wait must sleep, not spin in the others' way. Read by
# OpenMP when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# NumPy's threads spin, too: of products as small as the reference's, half of the time went into that.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

import convkit
from convkit import _probe, _timing
from convkit._ext import engine

ISAS = ("generic", "neon", "avx2", "avx512")


BEST = convkit.available_isas()[-1]
EVERY_ISA = [
    pytest.param(name, marks=() if name == BEST else pytest.mark.thorough) for name in convkit.available_isas()
]


@pytest.fixture(params=EVERY_ISA)
def isa(request):
    """Each instruction set of this machine in turn, in force for the test; among the quick tests, the best one."""
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


IMPORTS = """
import json, os, sys
results = []
for code, environment in json.loads(sys.argv[1]):
    for name in [name for name in os.environ if name.startswith("CONVKIT_") or name == "OMP_NUM_THREADS"]:
        del os.environ[name]
    os.environ.update(environment)
    for name in [name for name in sys.modules if name.startswith("convkit") and not name.startswith("convkit._ext")]:
        del sys.modules[name]
    try:
        import convkit
        results.append(str(eval(code)))
    except Exception as error:
        results.append(f"{type(error).__name__}: {error}")
print(json.dumps(results))
"""


@pytest.fixture
def imports(python):
    """What an expression gives after importing convkit with these variables set, or the error, as text; for several.

    ``imports((code, environment), ...)``. One interpreter imports the Python half anew for each, which reads the
    variables; starting one for each would take a second for every four.
    """

    def run(*cases):
        done = python(IMPORTS.replace("sys.argv[1]", repr(json.dumps(cases))))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def any_isa():
    """Restores the instruction set, which each configuration chooses for itself."""
    isa = convkit.isa()
    yield
    convkit.set_isa(isa)


@pytest.fixture
def control_c():
    """Ctrl-C raises KeyboardInterrupt, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def costs():
    """The planner's own, in force again after the test."""
    costs = engine.costs()
    yield costs
    engine.set_costs(costs)


@pytest.fixture
def brief(monkeypatch):
    """Few and short measurements, of which nobody looks at the figures."""
    for name in ("QUIET_SECONDS", "LONGEST_QUIET_SECONDS", "SETTLE_SECONDS", "BURST_SECONDS"):
        monkeypatch.setattr(_timing, name, 0.0)
    monkeypatch.setattr(_probe, "FULL_SECONDS", 0.0)
    for module in ("convkit._explain", "convkit.cli.time", "convkit.graph.explain"):
        monkeypatch.setattr(f"{module}._BURST_SECONDS", 0.0)
    monkeypatch.setattr(_timing, "ROUNDS", 2)
    monkeypatch.setattr(_probe, "FEW_SWITCHES", 10**9)
    monkeypatch.setattr(_probe, "REPEATED", 1e9)
    monkeypatch.setattr(engine, "measure_fma", lambda dtype, threads, seconds: 1e14)
    monkeypatch.setattr(engine, "measure_triad", lambda nbytes, threads, seconds: 2e10)
    with convkit.threads(1):
        yield


@pytest.fixture
def unarranged(monkeypatch):
    """Pictures whose parts are not moved apart, for which matplotlib draws all of them twice more."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is collected, a million objects, lives until the end: the garbage collector need not look there for any."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_report_header():
    absent = [name for name in ISAS if name not in convkit.available_isas()]
    why = ["not built" if name not in engine.built_isas() else "not offered here" for name in absent]
    return [
        f"convkit {convkit.__version__} from {os.path.dirname(convkit.__file__)}; "
        f"threads run by {engine.current_threading()}",
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
