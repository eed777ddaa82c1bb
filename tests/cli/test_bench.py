"""`convkit bench`: what it prints and writes; how fast anything is, no test says."""

import json

import pytest

from convkit.cli import bench, main
from convkit.layers import LAYERS

FIELDS = set(
    "name direction dtype layout threads algorithm isa median_s repeats gflops peak_gflops share steady".split()
)


@pytest.fixture
def brief(monkeypatch):
    """Few and short measurements."""
    monkeypatch.setattr(bench, "ATTEMPTS", 1)
    monkeypatch.setattr(bench, "PEAK_SECONDS", 0.002)


def test_json_has_a_row_per_layer_and_direction(brief, tmp_path, capsys):
    path = tmp_path / "timings.json"
    options = ["--layers", "tiny_*,conv1d_k9", "--direction", "forward", "x", "weight", "backward"]
    assert main(["bench", *options, "--batch", "1", "--threads", "2", "--dtype", "float64", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())
    assert [(row["name"], row["direction"]) for row in rows] == [
        (name, direction) for name in ("conv1d_k9", "tiny_digits") for direction in bench.DIRECTIONS
    ]
    flops = {layer.name: layer.flops / layer.n for layer in LAYERS}
    for row in rows:
        assert row.keys() == FIELDS
        assert (row["dtype"], row["threads"], row["algorithm"]) == ("float64", 2, "auto")
        assert row["repeats"] == bench.BURSTS * bench.CALLS
        assert row["share"] == pytest.approx(row["gflops"] / row["peak_gflops"])
        passes = 2 if row["direction"] == "backward" else 1
        assert row["gflops"] * 1e9 * row["median_s"] == pytest.approx(passes * flops[row["name"]])
    table = capsys.readouterr().out
    assert "geometric mean" in table
    assert "multiply-add as 2 FLOPs" in table


def test_json_on_standard_output_stands_alone(brief, capsys):
    assert main(["bench", "--layers", "tiny_digits", "--layout", "NHWC", "--algorithm", "im2col", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert [row["direction"] for row in json.loads(captured.out)] == ["forward", "backward"]
    assert "tiny_digits" in captured.err


@pytest.mark.parametrize("layout", ("NCHW", "NHWC"))
def test_transposed_layers_are_timed_in_every_direction(brief, layout, capsys):
    options = ["--layers", "dcgan_t4s2b", "--batch", "1", "--layout", layout, "--direction", *bench.DIRECTIONS]
    assert main(["bench", *options, "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    (layer,) = (layer for layer in LAYERS if layer.name == "dcgan_t4s2b")
    assert [row["direction"] for row in rows] == list(bench.DIRECTIONS)
    assert rows[0]["gflops"] * 1e9 * rows[0]["median_s"] == pytest.approx(layer.flops / layer.n)


def pretend_peaks(monkeypatch, *peaks):
    """Makes the machine's peak these GFLOP/s, one measurement after the other; the last stays."""
    left = list(peaks)
    monkeypatch.setattr(bench, "_best_peaks", {})
    monkeypatch.setattr(bench.engine, "measure_fma", lambda *_: 1e9 * (left.pop(0) if len(left) > 1 else left[0]))


def bench_tiny(capsys):
    assert main(["bench", "--layers", "tiny_digits", "--direction", "forward", "--threads", "2", "--json", "-"]) == 0
    captured = capsys.readouterr()
    (timing,) = json.loads(captured.out)
    return timing, captured.err


def test_shares_are_of_the_highest_peak_of_the_run(brief, monkeypatch, capsys):
    pretend_peaks(monkeypatch, 1e5, 1e5, 3e5)  # before, after, at the end
    timing, table = bench_tiny(capsys)
    assert timing["peak_gflops"] == pytest.approx(3e5)
    assert timing["share"] == pytest.approx(timing["gflops"] / 3e5)
    assert not timing["steady"]
    assert "the peak rose to 300000 GFLOP/s during the run; against that:" in table
    assert table.endswith(bench.UNSTEADY + "\n")


def test_a_share_above_one_is_unsteady(brief, monkeypatch, capsys):
    monkeypatch.setattr(bench, "BURSTS_DIFFER", 1e9)
    monkeypatch.setattr(bench, "CALLS_DIFFER", 1e9)
    pretend_peaks(monkeypatch, 1e-3)
    timing, table = bench_tiny(capsys)
    assert timing["share"] > 1
    assert not timing["steady"]
    assert "%  unsteady" in table
    assert table.endswith(bench.UNSTEADY + "\n")


def test_a_quiet_run_has_nothing_to_explain(brief, monkeypatch, capsys):
    monkeypatch.setattr(bench, "BURSTS_DIFFER", 1e9)
    monkeypatch.setattr(bench, "CALLS_DIFFER", 1e9)
    pretend_peaks(monkeypatch, 1e5)
    timing, table = bench_tiny(capsys)
    assert timing["steady"]
    assert "unsteady" not in table
    assert table.startswith("float32, NCHW, 2 threads, algorithm auto, ")


def test_only_what_is_built_is_timed():
    assert {layer.kind for layer in bench.select("*")} == {"conv", "convT"}
    assert bench.select("dcn*") == []


@pytest.mark.parametrize(
    "options", (["--layers", "nothing*"], ["--layers", "tiny_digits,conv1d_k9", "--algorithm", "direct"])
)
def test_what_cannot_be_timed_is_said(brief, options, capsys):
    status = main(["bench", *options])
    message = capsys.readouterr().err
    assert status == 2
    assert "--layers" in message


@pytest.mark.parametrize(
    "options", (["--batch", "0"], ["--threads", "-1"], ["--direction", "sideways"], ["--dtype", "int8"])
)
def test_bad_options(options, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["bench", *options])
    assert exit_.value.code == 2
    assert options[0] in capsys.readouterr().err
