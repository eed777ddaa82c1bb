"""onnx's own backend tests by its own runner, all kinds: `PYTHONPATH=tests python tests/onnx_suite.py [--fallback]`.

Prints for each kind how many run, how many are refused and what fails. With `--fallback` nothing is refused, and onnx's
reference evaluator is asked about everything that fails: what it passes must not. The "real" models are those that the
package brings, with weights that are all alike; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import unittest
import warnings
from collections import Counter
from types import SimpleNamespace
from typing import Any

import onnx.reference
from onnx.backend.test import BackendTest

from convkit import onnx_backend

KINDS = {"Node": "node", "Simple": "simple", "PyTorchConverted": "pytorch-converted",
         "PyTorchOperator": "pytorch-operator", "Real": "real"}  # fmt: skip


def with_fallback() -> Any:
    """The backend, of which nothing is refused."""
    names = ("prepare", "run_model", "supports_device")
    backend = SimpleNamespace(**{name: getattr(onnx_backend, name) for name in names})
    backend.prepare = lambda model, device="CPU", **options: onnx_backend.prepare(model, device, fallback=True)
    return backend


def reference() -> Any:
    """onnx's evaluator as a backend."""

    def prepare(model: Any, device: str = "CPU", **_: Any) -> Any:
        evaluator = onnx.reference.ReferenceEvaluator(model)

        def run(inputs: Any, **_: Any) -> Any:
            return evaluator.run(None, dict(zip(evaluator.input_names, inputs, strict=False)))

        return SimpleNamespace(run=run)

    return SimpleNamespace(prepare=prepare, supports_device=lambda device: device == "CPU")


def results(backend: Any, names: set[str] | None = None) -> dict[str, dict[str, str]]:
    """For each kind what became of every test, or of those of these names: "" if it passed, or why not."""
    found: dict[str, dict[str, str]] = {}
    for kind, case in BackendTest(backend, __name__).test_cases.items():
        tests = [test for test in unittest.defaultTestLoader.loadTestsFromTestCase(case)
                 if test.id().endswith("_cpu") and (names is None or test.id() in names)]  # fmt: skip
        result = unittest.TestResult()
        unittest.TestSuite(tests).run(result)
        bad = {test.id(): text.strip().splitlines()[-1] for test, text in (*result.failures, *result.errors)}
        bad |= {test.id(): "refused" for test, _ in result.skipped}
        found[kind.removeprefix("OnnxBackend").removesuffix("ModelTest").removesuffix("Test")] = {
            test.id(): bad.get(test.id(), "") for test in tests
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fallback", action="store_true")
    fallback = parser.parse_args().fallback
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ONNX_MODELS"] = folder  # where the runner keeps what it makes
        found = results(with_fallback() if fallback else onnx_backend)
        failed = {name: why for kind in found.values() for name, why in kind.items() if why not in ("", "refused")}
        also = results(reference(), set(failed)) if failed else {}
    failing_too = {name for kind in also.values() for name, why in kind.items() if why}
    for kind, tests in found.items():
        counts = Counter("failed" if why not in ("", "refused") else why or "passed" for why in tests.values())
        print(f"{KINDS.get(kind, kind):20} {len(tests):5} " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    for name, why in failed.items():
        print(f"{name}: {why}{' (so does the reference)' if name in failing_too else ''}")
    return int(bool(set(failed) - failing_too))


if __name__ == "__main__":
    sys.exit(main())
