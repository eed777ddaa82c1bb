"""Tasks that are no layers, and that the scripts of bench/ still make theirs."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from convkit import nn, onnx_backend
from convkit._extras import need
from convkit.benchmarks.problem import NotOfferedError
from convkit.benchmarks.tasks import Task, main
from missing import hide

BENCH = Path(__file__).parents[2] / "bench"
SCRIPTS = sorted(path.stem for path in BENCH.glob("*.py") if "def tasks(" in path.read_text())


def numbers(first):
    return lambda: np.arange(first, first + 4.0)


def refusing():
    raise NotOfferedError("it has no numbers")


def test_peers_that_agree_are_timed_and_others_are_named(brief, capsys):
    def tasks(against, threads):
        assert (list(against), threads) == (["torch"], 1)
        peers = {"right": numbers(1), "wrong": numbers(2), "refuses": refusing}
        yield Task("counting", numbers(1), peers, lambda result: {"y": result})
        yield Task("left out", None)

    assert main("What it is.", tasks, ["--against", "torch", "--threads", "1", "--only", "count*"]) == 0
    text = capsys.readouterr().out
    assert "1 thread, " in text and "counting " in text and " right " in text and "left out" not in text
    assert "counting: wrong was not timed: its result differs: y differs by" in text
    assert "counting: refuses was not timed: it has no numbers" in text
    assert "against right: geometric mean " in text and "against wrong" not in text


def test_a_peer_that_is_not_installed_is_one_line(brief, monkeypatch, capsys):
    hide(monkeypatch, "torch")

    def tasks(against, threads):
        yield Task("counting", numbers(1), {peer: need(peer, "bench") for peer in against})

    assert main("What it is.", tasks, ["--against", "torch"]) == 1
    error = capsys.readouterr().err
    assert ": torch is not installed; it comes with the extra [bench]: " in error and error.count("\n") == 1


def test_there_are_scripts():
    assert {"pool", "resample", "optim", "training"} <= set(SCRIPTS)


@pytest.mark.thorough
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_makes_tasks_without_any_peer(script, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCH)
    before, files = set(sys.modules), ()
    if script == "files":
        files = ([tmp_path / "layer.onnx"],)
        onnx_backend.export(nn.Conv2d(3, 4, 3, rng=0), files[0][0], (2, 3, 9, 9))
    task = next(iter(importlib.import_module(script).tasks([], 1, *files)))
    result = task.call()
    assert all(isinstance(array, np.ndarray) for array in task.read(result).values())
    assert task.peers == {} and "torch" not in set(sys.modules) - before
    for name in (script, "pytorch", "networks"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_script_may_take_files(monkeypatch, capsys):
    monkeypatch.setattr("convkit.benchmarks.tasks.compare", lambda task, probe: pytest.fail("nothing is timed"))
    taken = []
    files = ["a.onnx", "b.onnx", "--threads", "1"]
    assert main("What it is.", lambda *given: taken.append(given) or [], files, files="what is run") == 0
    assert taken == [([], 1, ["a.onnx", "b.onnx"])]
    with pytest.raises(SystemExit):
        main("What it is.", lambda *given: [], [], files="what is run")
    assert "FILE" in capsys.readouterr().err
