"""The sources, C and Python, need one another in one direction only; a header says what the file of its name holds."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import convkit

SOURCES = Path(__file__).parent.parent / "src_c"
FILES = {path.relative_to(SOURCES): path.read_text() for path in sorted(SOURCES.rglob("*.[ch]"))}
CODE = {path: re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL) for path, text in FILES.items()}
DEFINED = re.compile(r"^(?!static|extern)\w[\w *]*?\b(ck_\w+)(?:\([^;{}]*\) \{| = )", re.MULTILINE)
DECLARED = re.compile(r"^(?!static|typedef)\w[\w *]*?\b(ck_\w+)\([^;{}]*\);", re.MULTILINE)

# Where each function and table is defined, as the file's path without suffix; those of the kernels are static, but for
# their tables, which are named by macros.
HOME = {
    name: path.with_suffix("") for path, code in CODE.items() if path.suffix == ".c" for name in DEFINED.findall(code)
}

ROOT = Path(convkit.__file__).parent.parent
PYTHON = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "convkit").rglob("*.py"))
}


def _needs(path):
    """The files, without suffix, whose header this one includes or whose functions it calls."""
    for name in re.findall(r'#include "(.+)"', CODE[path]):
        beside = path.parent / name
        yield (beside if beside in FILES else Path(name)).with_suffix("")
    if path.suffix == ".c":
        yield from (HOME[name] for name in set(re.findall(r"\bck_\w+", CODE[path])) if name in HOME)


def _imports(module):
    """The modules that this one imports, at once or later; what type checkers alone read does not count."""
    package = module if PYTHON[module].stem == "__init__" else module.rpartition(".")[0]
    ahead = [ast.parse(PYTHON[module].read_text())]
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{origin}.{alias.name}" for alias in node.names]
            yield from (name if name in PYTHON else origin for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            ahead += (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))


@cache
def _needed():
    return {module: [name for name in _imports(module) if name in PYTHON] for module in PYTHON}


def _refuse_circles(needs):
    """`needs`: pairs of a name and those that it needs."""
    graph = {}
    for name, needed in needs:
        graph.setdefault(name, set()).update(set(needed) - {name})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" needs ".join(map(str, error.args[1][::-1])))


def test_what_is_included_is_there():
    assert HOME
    assert {other for path in FILES for other in _needs(path)} <= {path.with_suffix("") for path in FILES}


@pytest.mark.parametrize("name_of", [lambda file: file, lambda file: file.parent], ids=["files", "rooms"])
def test_no_circles(name_of):
    _refuse_circles((name_of(path.with_suffix("")), map(name_of, _needs(path))) for path in FILES)


@pytest.mark.parametrize("depth", [9, 2], ids=["files", "packages"])
def test_no_circles_of_imports(depth):
    def name_of(module):
        return ".".join(module.split(".")[:depth])

    assert any(_needed().values())
    _refuse_circles((name_of(module), map(name_of, names)) for module, names in _needed().items())


def test_headers_declare_what_their_file_defines():
    wrong = [
        f"{path} declares {name}, which {HOME.get(name)}.c defines"
        for path, code in CODE.items()
        if path.suffix == ".h" and path.parent != Path()
        for name in DECLARED.findall(code)
        if HOME.get(name) != path.with_suffix("")
    ]
    assert not wrong
