"""The C sources need one another in one direction only, and a header says what the file of its name holds."""

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

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


def _needs(path):
    """The files, without suffix, whose header this one includes or whose functions it calls."""
    for name in re.findall(r'#include "(.+)"', CODE[path]):
        beside = path.parent / name
        yield (beside if beside in FILES else Path(name)).with_suffix("")
    if path.suffix == ".c":
        yield from (HOME[name] for name in set(re.findall(r"\bck_\w+", CODE[path])) if name in HOME)


def _graph(name_of):
    graph = {}
    for path in FILES:
        needed = {name_of(other) for other in _needs(path)}
        graph.setdefault(name_of(path.with_suffix("")), set()).update(needed - {name_of(path.with_suffix(""))})
    return graph


def test_what_is_included_is_there():
    assert len(HOME) > 100
    assert {other for path in FILES for other in _needs(path)} <= {path.with_suffix("") for path in FILES}


@pytest.mark.parametrize("name_of", [lambda file: file, lambda file: file.parent], ids=["files", "rooms"])
def test_no_circles(name_of):
    try:
        TopologicalSorter(_graph(name_of)).prepare()
    except CycleError as error:
        pytest.fail(" needs ".join(map(str, error.args[1][::-1])))


def test_headers_declare_what_their_file_defines():
    wrong = [
        f"{path} declares {name}, which {HOME.get(name)}.c defines"
        for path, code in CODE.items()
        if path.suffix == ".h" and path.parent != Path()
        for name in DECLARED.findall(code)
        if HOME.get(name) != path.with_suffix("")
    ]
    assert not wrong
