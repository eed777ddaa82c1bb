"""Builds docs/gallery/index.html: every picture of examples/, drawn anew, with the idea that it shows.

    make gallery

Each script of examples/ runs in its own process. What the page says of it is the script's docstring, which is

    '''The title, one line without a full stop

    The idea, in a sentence or three.

        python examples/name.py [name.png] [--quick]

    needs `pip install ".[docs]"`
    '''

A script that takes more than about two seconds (one that trains) also takes --quick, which the tests use: the same code
and a picture of the same kind from fewer steps, in a second or so. A script belongs to one chapter of CHAPTERS.
"""

import argparse
import ast
import subprocess
import sys
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The order of the page.
CHAPTERS = {
    "Convolution": (
        "classic_filters",
        "conv_matrix",
        "grouped",
        "dilated",
        "transposed",
        "deformable",
        "deformable_digits",
        "receptive_field",
        "shifts",
        "upsampling",
        "learned_filters",
    ),
    "Losses": ("losses", "sigmoid_losses", "heads"),
    "Descent": (
        "gradient_descent",
        "zero_mean",
        "batch_size",
        "optimizers",
        "bias_correction",
        "schedules",
        "ema",
    ),
    "Depth and generalisation": ("vanishing_gradients", "overfitting"),
}

STYLE = """
body { font: 17px/1.55 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 3rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 4rem; border-bottom: 1px solid #ccc; } h3 { margin-top: 3rem; }
img { width: 100%; height: auto; border: 1px solid #ddd; } nav li { margin: .1rem 0; } a { color: #2166ac; }
figure { margin: 1rem 0; } figcaption { color: #666; font-size: .85em; } code { font-size: .92em; }
"""


@dataclass(frozen=True)
class Example:
    """A script, and what its docstring says."""

    script: Path
    title: str
    idea: str
    usage: str

    @property
    def name(self):
        return self.script.stem

    @property
    def takes_quick(self):
        return "[--quick]" in self.usage


def read(script):
    """The Example of a script, which is not run."""
    doc = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    paragraphs = [part.rstrip() for part in doc.split("\n\n")]
    usage = f"    python examples/{script.name} [{script.stem}.png]"
    if len(paragraphs) < 3 or "\n" in paragraphs[0] or not paragraphs[2].startswith(usage):
        raise SystemExit(f"{script}: the docstring must be a title, the idea, and {usage.strip()!r}")
    return Example(script, paragraphs[0], " ".join(paragraphs[1].split()), paragraphs[2].strip())


def draw(example, picture):
    """Run a script; the seconds that it took."""
    begin = time.perf_counter()
    if subprocess.run([sys.executable, example.script, picture], cwd=picture.parent).returncode:
        raise SystemExit(f"{example.script} failed")
    return time.perf_counter() - begin


def section(example):
    """A picture, under its title and its idea."""
    return f"""
<h3 id="{example.name}">{escape(example.title)}</h3>
<p>{escape(example.idea)}</p>
<figure><a href="{example.name}.png"><img src="{example.name}.png" alt="{escape(example.title)}" loading="lazy"></a>
<figcaption><code>{escape(example.usage)}</code></figcaption></figure>"""


def page(chapters):
    """The page, as HTML, of ``{title: [Example, ...]}``."""
    contents = body = ""
    for title, examples in chapters.items():
        items = "".join(f'<li><a href="#{e.name}">{escape(e.title)}</a></li>' for e in examples)
        contents += f"<p><b>{escape(title)}</b></p><ul>{items}</ul>\n"
        body += f"\n<h2>{escape(title)}</h2>" + "".join(map(section, examples))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>convkit: gallery</title><style>{STYLE}</style></head><body>
<h1>convkit: gallery</h1>
<p>Each picture explains one idea, and is drawn by a short script with convkit's public functions alone.</p>
<nav>{contents}</nav>{body}
</body></html>
"""


def main():
    parser = argparse.ArgumentParser(description="Draw the pictures of examples/ and gather them on one page.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery", metavar="DIR")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    chapters = {title: [read(ROOT / "examples" / f"{name}.py") for name in names] for title, names in CHAPTERS.items()}
    every = [example for examples in chapters.values() for example in examples]
    for i, example in enumerate(every, 1):
        trains = ", which trains for a while" if example.takes_quick else ""
        print(f"{i} of {len(every)}: drawing {example.name}.png{trains} ...", flush=True)
        print(f"    {draw(example, out / f'{example.name}.png'):.1f} s", flush=True)
    (out / "index.html").write_text(page(chapters), encoding="utf-8")
    print(f"written: {out / 'index.html'}")


if __name__ == "__main__":
    main()
