"""What commands say of figures that were measured while other work was using the machine."""

import onnx
import pytest
from onnx import parser

from convkit import _probe, models
from convkit.cli import main

RELU = '<ir_version: 10, opset_import: ["" : 22]> relu (float[2] x) => (float[2] y) { y = Relu(x) }'


@pytest.fixture(params=[False, True], ids=["quiet", "busy"])
def busy(brief, request, monkeypatch):
    """Whether other processes always interrupt this one."""
    if request.param:
        monkeypatch.setattr(_probe, "FEW_SWITCHES", -(10**9))
    return request.param


@pytest.mark.parametrize(
    "command", ["info", "explain conv2d 1,4,6,6 4,4,3,3 --measure", "time lenet5 --threads 1", "run relu.onnx --time"]
)
def test_a_busy_machine_is_said_once(command, busy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if command.startswith("run"):
        onnx.save(parser.parse_model(RELU), "relu.onnx")
    assert main(command.split()) == 0
    assert capsys.readouterr().out.count(_probe.UNSTEADY) == busy


def test_a_network_explained_on_a_busy_machine(busy):
    told = models.lenet5(rng=0).prepare((1, 1, 32, 32)).explain()
    assert told.unsteady == busy and str(told).count(_probe.UNSTEADY) == busy
