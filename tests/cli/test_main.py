"""The command line as a whole."""

import re

import pytest

import convkit
from convkit import _extras
from convkit.cli import COMMANDS, main


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"^ +{name} ", text, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: convkit {name}" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"convkit {convkit.__version__}\n"


def test_no_command_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "command" in capsys.readouterr().err


@pytest.mark.thorough
def test_info(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert f"current: {convkit.isa()}" in text and "GFLOP/s" in text and "GB/s" in text


def test_a_keyboard_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(convkit, "show_config", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "convkit info: interrupted\n"


@pytest.mark.thorough
def test_python_dash_m(python):
    result = python("import runpy, sys; sys.argv[1:] = ['--version']; runpy.run_module('convkit', run_name='__main__')")
    assert (result.returncode, result.stdout) == (0, f"convkit {convkit.__version__}\n"), result.stderr


@pytest.mark.thorough
def test_importing_every_part_needs_numpy_alone(python):
    code = """
import sys
import convkit, convkit.cli.demo, convkit.cli.bench, convkit.cli.train
print(convkit.nn.Conv2d, convkit.optim.SGD, convkit.data.minibatches, convkit.analysis.check_gradients, convkit.train)
extras = {"sklearn", "scipy", "matplotlib", "tqdm", "safetensors", "PIL"}
sys.exit(str(extras & set(sys.modules)) if extras & set(sys.modules) else 0)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_a_package_that_is_there_but_broken_keeps_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import a_module_that_does_not_exist\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_does_not_exist") as caught:
        _extras.need("broken_package", "train")
    assert not isinstance(caught.value, _extras.MissingExtraError)
