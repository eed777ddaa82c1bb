"""The picture of a run, whose dots have names."""

from types import SimpleNamespace

import numpy as np
import pytest

from convkit._probe import CACHES_ABOVE, WINOGRAD_ABOVE, Roof
from convkit.benchmarks import picture
from convkit.benchmarks.layers import LAYERS


@pytest.mark.thorough
def test_names_cover_nothing_and_stay_in_the_frame(monkeypatch, tmp_path):
    """Layers that are much alike, many of them at the right, where names would reach out."""
    rng, roof, drawn = np.random.default_rng(0), Roof(118.0, 20.0), []
    monkeypatch.setattr(picture, "save_picture", lambda figure, path, dpi: drawn.append(figure))
    intensities = rng.choice([2.2, 110, 150, 300, 330], len(LAYERS))
    shares = rng.uniform(0.6, 1, len(LAYERS))
    above = {28: WINOGRAD_ABOVE, 29: CACHES_ABOVE}
    shares[list(above)] = 1.3
    common = {"bytes": 1, "peers": [], "roof": roof, "direction": "forward", "isa": "avx2"}
    common |= {"probe": SimpleNamespace(disturbed=False), "steady": True, "why_above": None}
    setting = SimpleNamespace(dtype="float32", threads=1)
    rows = [
        SimpleNamespace(layer=layer, flops=x, roofline=y, gflops=y * min(118, 20 * x), setting=setting, **common)
        for layer, x, y in zip(LAYERS, intensities, shares, strict=True)
    ]
    for i, why in above.items():
        rows[i].why_above = why
    picture.roofline(tmp_path / "roof.png", rows)
    (axes,) = drawn[0].axes
    drawn[0].draw_without_rendering()
    worst = sorted(rows, key=lambda row: row.roofline)[: picture.LABELLED]
    assert [text.get_text() for text in axes.texts] == [row.layer.name for row in worst]
    said = drawn[0].get_supxlabel().splitlines()
    assert said == ["named: the 8 of 30 layers farthest under the roof", f"* {WINOGRAD_ABOVE}", f"+ {CACHES_ABOVE}"]
    heights = {line.get_marker(): line.get_ydata() for line in axes.lines}
    assert (heights["*"], heights["P"]) == tuple(rows[i].gflops for i in above)
    words = type(axes.title)
    boxes = [words.get_window_extent(text) for text in axes.texts]
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    dots = axes.transData.transform([(row.flops, row.gflops) for row in rows])
    assert not any(box.contains(*dot) for box in boxes for dot in dots)
