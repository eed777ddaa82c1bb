"""What editors and type checkers read: the engine's stub says what the compiled module has, the typed page runs."""

import ast
import inspect
import re
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import pytest

import typed_page
from convkit._ext import engine

STUB = ast.parse(Path(engine.__file__).with_name("engine.pyi").read_text())
SOURCES = Path(__file__).parents[1] / "convkit" / "_ext"
DECLARED = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
VARIABLES = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}


def arguments(function: ast.FunctionDef) -> list[tuple[str, bool]]:
    """Names of the arguments, and whether each has a default; those by name alone begin with a star."""
    taken = function.args
    several = [f"*{taken.vararg.arg}"] if taken.vararg else []
    plain = [(arg.arg, i >= len(taken.args) - len(taken.defaults)) for i, arg in enumerate(taken.args)]
    named = [
        (f"*{arg.arg}", default is not None) for arg, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True)
    ]
    return [*plain, *((name, False) for name in several), *named]


def compiled(function) -> list[tuple[str, bool]]:
    """The same of a compiled function."""
    stars = {inspect.Parameter.KEYWORD_ONLY: "*", inspect.Parameter.VAR_POSITIONAL: "*"}
    parameters = inspect.signature(function).parameters.values()
    return [(stars.get(p.kind, "") + p.name, p.default is not p.empty) for p in parameters]


def constructors() -> dict[str, list[tuple[str, bool]]]:
    """Of every class what its sources say, since a compiled `__cinit__` does not."""
    text = "".join(path.read_text() for path in sorted(SOURCES.glob("*.pxi")))
    found = {}
    for name, body in re.findall(r"^cdef class (\w+):\n(.*?)(?=^\S)", text + "end", re.M | re.S):
        taken = re.search(r"def __cinit__\((.*?)\):", body, re.S)[1].split(",")
        found[name] = [(one.split("=")[0].split()[-1], "=" in one) for one in taken]
    return found


def test_the_stub_has_all_names_of_the_module():
    own = {
        name
        for name, value in vars(engine).items()
        if not name.startswith("_")
        and (isinstance(value, int | ContextVar) or getattr(value, "__module__", "") == engine.__name__)
    }
    assert DECLARED.keys() | VARIABLES == own


@pytest.mark.parametrize("name", DECLARED)
def test_the_stub_has_their_arguments(name):
    node, there = DECLARED[name], getattr(engine, name)
    if isinstance(node, ast.FunctionDef):
        assert arguments(node) == compiled(there)
        return
    methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
    fields = {part.target.id for part in node.body if isinstance(part, ast.AnnAssign)}
    made = methods.pop("__init__", None)
    assert (arguments(made) if made else [("self", False)]) == constructors()[name]
    assert methods.keys() | fields == {part for part in vars(there) if not part.startswith("_")}
    for part, method in methods.items():
        assert arguments(method) == compiled(getattr(there, part)), part


def test_the_typed_page_runs():
    rng = np.random.default_rng(0)
    x, weight = rng.random((1, 2, 8, 8), np.float32), rng.random((3, 2, 3, 3), np.float32)
    assert [y.shape[-1] for y in typed_page.operators(x, weight)] == [4, 8, 8, 4, 4]
    model = typed_page.network()
    assert typed_page.by_hand(model, rng.random((4, 1, 8, 8), np.float32), np.arange(4)) > 0
    assert 0 <= typed_page.by_trainer(model) <= 1
    assert typed_page.looked_at(model).startswith("(1, 10), (3, 3), ")
