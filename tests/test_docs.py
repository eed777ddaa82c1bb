"""The blocks of Python on pages of documentation run, and print what stands beside them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def blocks(page):
    """The blocks of a page, without those whose data is said to be the reader's."""
    found = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block for block in found if "# yours" not in block]


def run(page, block, names, capsys):
    """Run a block, and look for what its comments say of what it prints: arrays' shapes, numbers, True."""
    code = compile(block, page, "exec")
    capsys.readouterr()
    exec(code, names)
    printed = capsys.readouterr().out
    for wanted in re.findall(r"^print\(.*\)  # ((?:[(\d]|True|False).*)$", block, re.MULTILINE):
        assert wanted in printed.splitlines(), f"{page}: printed {printed!r}, not {wanted!r}"


@pytest.mark.thorough
def test_the_guide_is_one_program(tmp_path, monkeypatch, capsys, brief):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("docs/guide.md"):
        run("docs/guide.md", block, names, capsys)
    assert (tmp_path / "curves.png").exists() and (tmp_path / "digits.onnx").exists()


PAGES = ("README.md", *(f"docs/{name}.md" for name in ("networks", "onnx", "inside", "distributed", "coming_from")))
ALONE = [(page, i) for page in PAGES for i in range(len(blocks(page)))]


@pytest.mark.thorough
@pytest.mark.parametrize(("page", "number"), ALONE)
def test_a_block_runs_on_its_own(page, number, tmp_path, monkeypatch, capsys, brief):
    monkeypatch.chdir(tmp_path)
    run(page, blocks(page)[number], {}, capsys)
