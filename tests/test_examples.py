"""Every example draws its picture, and has its place on the gallery's page."""

import runpy
import sys
from pathlib import Path

import pytest
from matplotlib import rcParams
from matplotlib.image import imread

from missing import hide
from pictures import colours

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GALLERY = runpy.run_path(str(ROOT / "docs" / "build_gallery.py"))


@pytest.mark.thorough
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_draws_a_picture(script, tmp_path, monkeypatch, unarranged):
    picture = tmp_path / "picture.png"
    quick = ["--quick"] if GALLERY["read"](script).takes_quick else []
    monkeypatch.setattr(sys, "argv", [str(script), str(picture), *quick])
    monkeypatch.setitem(rcParams, "savefig.dpi", 60)
    runpy.run_path(str(script), run_name="__main__")
    assert picture.read_bytes().startswith(b"\x89PNG")
    pixels = imread(picture)
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    assert min(height, width) > 100
    for quarter in (pixels[y : y + height, x : x + width] for y in (0, height) for x in (0, width)):
        assert colours(quarter) > 20, "a quarter of the page is all but blank"


def run(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [script.name, *arguments])
    monkeypatch.delitem(sys.modules, "convkit.cli._example", raising=False)
    runpy.run_path(str(script), run_name="__main__")


SCRIPTS = [*EXAMPLES, *(ROOT / "examples" / "published").glob("*.py")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help_draws_nothing(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run(script, monkeypatch, "--help")
    assert ended.value.code == 0 and not list(tmp_path.iterdir())
    assert capsys.readouterr().out.startswith(f"usage: {script.name} [-h] ")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("none/schedules.png", "must be a file that can be written, got 'none/schedules.png': there is no folder "),
        ("schedules.txt", "must end in one of .eps, "),
        (".", "must be a file, got '.', which is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused_before_it_is_drawn(picture, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run(ROOT / "examples" / "schedules.py", monkeypatch, picture)
    assert ended.value.code == 2 and f"argument picture: {message}" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    for package in ("matplotlib", "skimage"):
        with monkeypatch.context() as hidden:
            hide(hidden, package)
            with pytest.raises(SystemExit, match=rf"^losses.py: {package} is not installed; .* extra \[docs\]: "):
                run(ROOT / "examples" / "losses.py", hidden)


def test_every_example_is_in_one_chapter():
    names = [name for chapter in GALLERY["CHAPTERS"].values() for name in chapter]
    assert sorted(names) == [script.stem for script in EXAMPLES]


def test_page_shows_title_idea_and_picture(tmp_path):
    script = tmp_path / "blur.py"
    usage = "    python examples/blur.py [blur.png] [--quick]"
    script.write_text(f'"""Blur & sharpen\n\nA blur is a mean\nof a < b pixels.\n\n{usage}\n"""\n')
    html = GALLERY["page"]({"First": [GALLERY["read"](script)]})
    for part in ("<h2>First", ">Blur &amp; sharpen</h3>", "A blur is a mean of a &lt; b pixels.", 'src="blur.png"'):
        assert part in html


def test_the_gallery_says_what_it_is_drawing(tmp_path, monkeypatch, capsys):
    said = []
    main = GALLERY["main"]
    monkeypatch.setattr(sys, "argv", ["build_gallery.py", "--out", str(tmp_path)])
    monkeypatch.setitem(main.__globals__, "draw", lambda example, picture: said.append(capsys.readouterr().out) or 1.0)
    main()
    assert "drawing classic_filters.png ...\n" in said[0] and (tmp_path / "index.html").exists()
    assert any("drawing overfitting.png, which trains for a while ...\n" in each for each in said)


@pytest.mark.parametrize(
    "doc",
    [
        "Title",
        "Title\n\nIdea.",
        "Title\n\nIdea.\n\n    python examples/other.py [other.png]",
        "Two\nlines\n\nIdea.\n\n    python examples/blur.py [blur.png]",
    ],
)
def test_docstring_without_title_idea_or_usage_is_refused(doc, tmp_path):
    script = tmp_path / "blur.py"
    script.write_text(f'"""{doc}\n"""\n')
    with pytest.raises(SystemExit, match="docstring"):
        GALLERY["read"](script)
