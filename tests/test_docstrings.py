"""The examples of public docstrings give what they say, and every operator has one."""

import doctest
import importlib

import numpy as np
import pytest

import convkit

PACKAGES = (
    *("convkit", "convkit.analysis", "convkit.data", "convkit.distributed", "convkit.graph", "convkit.nn"),
    *("convkit.nn.losses", "convkit.onnx_backend", "convkit.optim", "convkit.optim.schedules", "convkit.train"),
)


@pytest.mark.parametrize("package", PACKAGES)
def test_examples(package):
    module = importlib.import_module(package)
    names = {name: getattr(module, name) for name in module.__all__}
    found = {
        name: doctest.DocTestFinder().find(value, name, module=False, globs={"convkit": convkit, "np": np, **names})
        for name, value in names.items()
        if callable(value)
    }
    for tests in found.values():
        for test in tests:
            assert doctest.DocTestRunner(verbose=False).run(test).failed == 0, test.name
    operators = [name for name in found if names[name].__module__.startswith("convkit.ops.")]
    assert not [name for name in operators if not any(test.examples for test in found[name])]
