"""`convkit bench`: what it prints and writes; how fast anything is, no test says."""

import json

import pytest
from matplotlib.image import imread

import convkit
from convkit._ext import engine
from convkit._timing import Contender
from convkit._words import percent
from convkit.benchmarks import peers, report
from convkit.benchmarks.layers import LAYERS, OTHERS
from convkit.benchmarks.problem import DIRECTIONS, NotOfferedError, ours
from convkit.cli import bench, main
from missing import hide
from pictures import colours


def run_json(capsys, *options):
    assert main(["bench", *options, "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out)["rows"], captured.err


def test_prepared_leaves_out_what_cannot_be(brief, capsys):
    rows, _ = run_json(capsys, "--layers", "tiny_digits,dcn*", "--prepared")
    assert [row["name"] for row in rows] == ["tiny_digits"]


@pytest.fixture
def faked(monkeypatch):
    """Peers that do what convkit does; names of what was asked for."""
    asked = []

    def load(name):
        asked.append(name)
        return lambda problem: Contender(name, ours(problem)[1].call, ours(problem)[1].read)

    monkeypatch.setattr(peers, "load", load)
    return asked


def test_every_layer_direction_and_number_of_threads_has_a_row(brief, capsys):
    options = ["--layers", "tiny_*,call_*", "--batch", "1", "--dtype", "float64", "--threads", "1,2"]
    rows, table = run_json(capsys, *options, "--direction", *DIRECTIONS)
    assert [(row["threads"], row["direction"], row["name"]) for row in rows] == [
        (threads, direction, name)
        for threads in (1, 2)
        for direction in DIRECTIONS
        for name in ("tiny_digits", "call_1x1x8x8")
    ]
    flops = {layer.name: layer.flops / layer.n for layer in (*LAYERS, *OTHERS)}
    for row in rows:
        assert (row["dtype"], row["algorithm"], row["layer"]["n"]) == ("float64", "auto", 1)
        passes = 2 if row["direction"] == "backward" else 1
        assert row["gflops"] * 1e9 * row["seconds"]["convkit"] == pytest.approx(passes * flops[row["name"]])
        assert row["seconds"].keys() == row["page_faults"].keys() == {"convkit", "fresh"}
        assert row["ratio"] is None
    assert "forward: float64, NCHW, 2 threads, algorithm auto, " in table
    assert "geometric mean of 2" in table and "roof: least " not in table


def test_peers_are_columns_and_slow_layers_are_timed_again(brief, faked, monkeypatch, capsys):
    again = []
    monkeypatch.setattr(bench, "AGAIN", 1e9)
    monkeypatch.setattr(bench, "measure_again", lambda row, builders: again.append(row.layer.name))
    rows, table = run_json(capsys, "--layers", "tiny_digits", "--against", "torch,onnxruntime", "--backward")
    assert faked == ["torch", "onnxruntime"]
    (row,) = rows
    assert row["direction"] == "backward"
    assert row["seconds"].keys() == {"convkit", "fresh", "torch", "onnxruntime"}
    fastest = min(row["seconds"]["torch"], row["seconds"]["onnxruntime"])
    assert row["ratio"] == pytest.approx(fastest / row["seconds"]["convkit"])
    assert row["ratio_fresh"] == pytest.approx(fastest / row["seconds"]["fresh"])
    assert again == ["tiny_digits"] * bench.TIMES_MORE
    assert "torch onnxruntime   ratio" in table


def test_columns_that_are_shown_are_explained_in_lines_that_fit(brief, faked, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "70")
    legends = []
    for options in ([], ["--against", "torch", "--backward"]):
        assert main(["bench", "--layers", "tiny_digits", *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        heading = next(line for line in lines if line.startswith("layer "))
        legends.append(lines[next(i for i, line in enumerate(lines) if line.startswith("ms: ")) :])
        names = [line.partition(":")[0] for line in legends[-1] if ": " in line]
        assert names == [name for name in heading.split()[1:] if name not in ("torch", "(fresh)")]
    assert max(map(len, sum(legends, []))) <= 70
    assert "backward" not in " ".join(legends[0]) and "backward" in " ".join(legends[1])


def test_a_sweep_has_quantiles_kinds_and_the_worst(brief, faked, monkeypatch, capsys):
    layers = [bench.replace(bench.select("tiny_digits")[0], n=1, name=str(c_in), c_in=c_in) for c_in in range(1, 9)]
    monkeypatch.setattr(bench.draw, "random_layers", lambda count, seed, fits: layers[seed : seed + count])
    monkeypatch.setattr(report, "WORST", 3)
    monkeypatch.setattr(report, "ENOUGH", 6)
    assert main(["bench", "--sweep", "6", "--seed", "2", "--against", "torch", "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "geometric mean of 6" in text and "  few inputs: 2 " in text and "  dense: 4 " in text
    assert "ratio: least " in text and "fresh: least " in text and "roof: least " in text
    ratios = [float(line.split()[-2]) for line in text.split("worst first:\n")[1].splitlines()[:3]]
    assert ratios == sorted(ratios)


def test_all_of_an_output_is_of_one_roof(brief, monkeypatch, capsys):
    """Whatever is seen meanwhile, and what is higher at the end has all lines printed once more."""
    later = 1.0
    monkeypatch.setattr(engine, "measure_fma", lambda dtype, threads, seconds: later * 1e14)
    monkeypatch.setattr(engine, "measure_triad", lambda nbytes, threads, seconds: later * 1e9)
    monkeypatch.setattr(report, "WORST", 1)
    measure = bench.measure

    def rising(*args):
        nonlocal later
        row = measure(*args)
        later *= rise
        return row

    monkeypatch.setattr(bench, "measure", rising)
    for rise, roofs in ((1.002, [100]), (2, [100, 400])):
        later = 1.0
        rows, text = run_json(capsys, "--layers", "tiny_digits,call_1x1x8x8", "--batch", "1")
        heading, *tables = [part for part in text.split("\nlayer ") if part]
        assert len(tables) == len(roofs) and "triad 1 GB/s" in heading
        assert ("once more" in text) == (rise == 2)
        for row in rows:
            assert (row["peak_gflops"], row["triad_gbs"]) == pytest.approx((1e3 * roofs[-1], 1e-2 * roofs[-1]))
            share = max(row["bytes"] / row["triad_gbs"], row["flops"] / row["peak_gflops"]) / 1e9
            assert row["roofline"] == pytest.approx(share / row["seconds"]["convkit"])
            shown = [line for line in tables[-1].splitlines() if line.startswith(row["name"])]
            assert shown and all(f" {percent(row['roofline'])}" in line for line in shown)


def test_refusals_are_said_in_the_peers_words(brief, monkeypatch, capsys):
    def refuse(problem):
        raise NotOfferedError("no convolutions today")

    monkeypatch.setattr(peers, "load", lambda name: refuse)
    assert main(["bench", "--layers", "tiny_digits,call_1x1*", "--batch", "1", "--against", "torch"]) == 0
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "no convolutions today" in line]
    assert said == "torch was not timed on tiny_digits, call_1x1x8x8: no convolutions today"


def test_a_run_is_saved_and_compared(brief, tmp_path, capsys):
    saved, again = tmp_path / "then.json", tmp_path / "now.json"
    options = ["bench", "--layers", "call_*,tiny_*", "--batch", "1", "--threads", "1"]
    assert main([*options, "--save", str(saved)]) == 0
    then = json.loads(saved.read_text())
    assert then["versions"]["convkit"] == convkit.__version__ and then["cpu"] and then["isa"] == convkit.isa()
    for row in then["rows"]:
        row["seconds"]["convkit"] *= {"tiny_digits": 2, "call_1x1x8x8": 8}[row["name"]]
    saved.write_text(json.dumps(then))
    capsys.readouterr()
    assert main([*options, "--compare", str(saved), "--json", str(again)]) == 0
    now = {row["name"]: row["seconds"]["convkit"] for row in json.loads(again.read_text())["rows"]}
    ratios = [row["seconds"]["convkit"] / now[row["name"]] for row in then["rows"]]
    text = capsys.readouterr().out
    assert f"geometric mean of 2: {report.mean(ratios):.3f} times faster" in text
    then["rows"] = [row | {"threads": 2} for row in then["rows"]]
    saved.write_text(json.dumps(then))
    assert main([*options, "--compare", str(saved)]) == 0
    assert "has none of these rows" in capsys.readouterr().out


def test_an_interrupted_run_says_and_saves_what_it_has(brief, monkeypatch, tmp_path, capsys):
    path, measure = tmp_path / "run.json", bench.measure

    def interrupted(layer, *args):
        if layer.name == "call_1x1x8x8":
            raise KeyboardInterrupt
        return measure(layer, *args)

    monkeypatch.setattr(bench, "measure", interrupted)
    options = ["bench", "--threads", "1", "--save", str(path), "--layers"]
    assert main([*options, "tiny_digits,call*"]) == 130
    assert [row["name"] for row in json.loads(path.read_text())["rows"]] == ["tiny_digits"]
    assert "interrupted; so far:\ngeometric mean of 1 " in capsys.readouterr().out
    path.unlink()
    assert main([*options, "call*"]) == 130
    assert not path.exists() and capsys.readouterr().err == "convkit bench: interrupted\n"


@pytest.mark.parametrize("content", (None, "no JSON", "[]", "{}"))
def test_only_a_saved_run_can_be_compared(content, tmp_path, capsys):
    path = tmp_path / "then.json"
    if content is not None:
        path.write_text(content)
    assert main(["bench", "--compare", str(path)]) == 2
    assert "--compare must be a file that --save wrote" in capsys.readouterr().err


@pytest.mark.thorough
def test_the_roofline_is_drawn_for_each_direction(brief, faked, unarranged, tmp_path, capsys):
    path = tmp_path / "roof.png"
    options = ["--layers", "call_*,tiny_*", "--batch", "1", "--threads", "1", "--against", "torch"]
    assert main(["bench", *options, "--direction", "forward", "x", "--roofline", str(path)]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["roof-forward-1.png", "roof-x-1.png"]
    said = capsys.readouterr().out.splitlines()
    assert [f"written: {tmp_path / name}" in said for name in ("roof-forward-1.png", "roof-x-1.png")] == [True, True]
    assert colours(imread(tmp_path / "roof-x-1.png")) > 20


def test_the_roofline_needs_matplotlib_before_anything_is_timed(monkeypatch, capsys):
    hide(monkeypatch, "matplotlib")
    monkeypatch.setattr(bench, "measure", None)
    assert main(["bench", "--roofline"]) == 1
    assert "[bench]" in capsys.readouterr().err


@pytest.mark.parametrize("name", peers.PEERS)
def test_a_missing_peer_names_the_extra(name, monkeypatch, capsys):
    package = {"mnn": "MNN"}.get(name, name)
    hide(monkeypatch, package)
    monkeypatch.delitem(bench.sys.modules, f"convkit.benchmarks.peers.{name}", raising=False)
    assert main(["bench", "--against", name]) == 1
    assert "[bench]" in capsys.readouterr().err


def test_layers_are_chosen_by_name():
    assert bench.select(None) == [*LAYERS]
    assert bench.select("*") == [*LAYERS, *OTHERS]
    assert [layer.name for layer in bench.select("dcn_*,tiny*")] == ["tiny_digits", "dcn_64_56", "dcn_256_28"]


def test_a_question_mark_lists_all_names(capsys):
    assert main(["bench", "--layers", "?"]) == 0
    assert capsys.readouterr().out.split() == [layer.name for layer in (*LAYERS, *OTHERS)]


@pytest.mark.thorough
def test_layers_of_a_kind(brief, monkeypatch, capsys):
    rows, _ = run_json(capsys, "--layers", "dw*,tiny*,dcn_64*", "--batch", "1", "--kind", "few*,deform*")
    assert [row["name"] for row in rows] == ["tiny_digits", "dcn_64_56"]
    monkeypatch.setattr(bench.draw, "FLOPS", (4e5, 4e6))
    rows, _ = run_json(capsys, "--sweep", "3", "--kind", "depthwise*", "--threads", "1")
    assert len(rows) == 3 and all(row["family"].startswith("depthwise") for row in rows)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--layers", "nothing*"], "--layers"),
        (["--layers", "tiny_digits,conv1d_k9", "--algorithm", "direct"], "--layers"),
        (["--layers", "tiny_digits", "--batch", "9" * 16], "--batch"),
        (["--layers", "tiny_digits", "--prepared", "--backward"], "prepared"),
        (["--layers", "dcn*", "--fit"], "--fit"),
        (["--layers", "dw*", "--kind", "dense"], "--layers"),
        (["--layers", "dcn*", "--prepared"], "call_1x1x8x8, the deformable ones left out by --prepared; got 'dcn*'"),
        (["--kind", "nothing"], "--kind"),
        (["--sweep", "2", "--kind", "deformable"], "--kind"),
    ],
)
def test_what_cannot_be_timed_is_said(brief, options, named, capsys):
    assert main(["bench", *options]) == 2
    assert named in capsys.readouterr().err
