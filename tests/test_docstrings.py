"""Public names have examples, which give what they say when they are pasted into a fresh interpreter."""

import doctest
import importlib
import inspect
import re

import pytest

import convkit
from cases import THOROUGH
from convkit import reference

PACKAGES = (
    *("convkit", "convkit.analysis", "convkit.data", "convkit.distributed", "convkit.graph", "convkit.models"),
    *("convkit.nn", "convkit.nn.init", "convkit.nn.losses", "convkit.onnx_backend", "convkit.optim"),
    *("convkit.optim.schedules", "convkit.train"),
)
LONG = {
    "convkit": {"machine_peak", "verify"},
    "convkit.analysis": {"conv_matrix", "conv_operator"},  # SciPy is imported
    "convkit.dask": convkit.dask.__all__,
    "convkit.onnx_backend": {"Reference"},
    "convkit.train": {"Trainer"},
}
WITHOUT = {  # an example of their own, and why
    "convkit.Explanation": "`explain` gives it, and has one",
    "convkit.Verification": "`verify` gives it, has one, and takes a second",
    "convkit.distributed.world": "mpiexec starts ranks, no interpreter does",
    "convkit.nn.Way": "a type for annotations",
    "convkit.nn.losses.NothingCountsError": "an exception",
    "convkit.onnx_backend.UnsupportedError": "an exception",
    "convkit.train.NonFiniteError": "an exception",
}


def public(package):
    """The functions and classes that a package names, or if it names none, its functions."""
    module = importlib.import_module(package)
    if hasattr(module, "__all__"):
        return {name: value for name in module.__all__ if callable(value := getattr(module, name))}
    own = inspect.getmembers(module, lambda value: inspect.isfunction(value) and value.__module__ == package)
    return {name: value for name, value in own if not name.startswith("_")}


def found(name, value):
    """The examples of a name and its methods, each to be run where nothing is imported."""
    return doctest.DocTestFinder().find(value, name, module=False, globs={})


def run(package, chosen):
    for name, value in public(package).items():
        for test in found(name, value) if chosen(name) else ():
            assert doctest.DocTestRunner(verbose=False).run(test).failed == 0, f"{package}.{test.name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_examples(package):
    run(package, lambda name: name not in LONG.get(package, ()))


@THOROUGH
@pytest.mark.parametrize("package", LONG)
def test_long_examples(package):
    run(package, LONG[package].__contains__)


@pytest.mark.parametrize("package", [*PACKAGES, "convkit.dask"])
def test_every_public_name_has_an_example(package):
    bare = {
        f"{package}.{name}"
        for name, value in public(package).items()
        if not any(test.examples and test.name == name for test in found(name, value))
    }
    assert bare == {name for name in WITHOUT if name.rpartition(".")[0] == package}


def test_examples_of_operators_hold_for_the_reference():
    names = [name for name in reference.__all__ if hasattr(convkit, name)]
    called = re.compile(rf"\bconvkit\.(?=(?:{'|'.join(names)})\()")
    for name in names:
        (test,) = found(name, getattr(convkit, name))
        replaced = [called.subn("convkit.reference.", example.source) for example in test.examples]
        assert sum(count for _, count in replaced), name
        for example, (source, _) in zip(test.examples, replaced, strict=True):
            example.source = source
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0, name
    run("convkit.reference", set(reference.__all__).difference(names).__contains__)
