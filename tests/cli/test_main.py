"""The command line as a whole."""

import re

import pytest

import convkit
from convkit import _extras
from convkit.cli import COMMANDS, _parser, main


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


def test_what_a_command_does_not_know_is_answered_by_its_own_usage(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "shapes"])
    said = capsys.readouterr().err
    assert said.startswith("usage: convkit train") and said.endswith("train: error: unrecognized arguments: shapes\n")


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"convkit {convkit.__version__}\n"


def test_no_command_is_an_error_that_shows_what_there_is(capsys):
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and all(re.search(rf"^ +{name} ", said.err, re.MULTILINE) for name in COMMANDS)


WHOLE, THREADS = "must be a whole number ", "must be a whole number from 1 to 1024, got "


@pytest.mark.parametrize(
    ("line", "option", "message"),
    [
        ("demo --epochs 0", "--epochs", WHOLE + "from 1 to 9223372036854775807, got '0'"),
        ("demo --seed -1", "--seed", WHOLE + "of at least 0, got '-1'"),
        ("demo --out /dev/null", "--out", "must be a directory, got '/dev/null': /dev/null is none"),
        ("train --out /dev/null/x", "--out", "must be a directory, got '/dev/null/x': /dev/null is none"),
        ("train --data /nonexistent", "--data", "must be digits or a folder with a subfolder of images for each class"),
        ("train --size 0", "--size", WHOLE + "from 1 to 9223372036854775807, got '0'"),
        ("train --warmup -1", "--warmup", WHOLE + "from 0 to "),
        ("train --epochs 99999999999999999999", "--epochs", WHOLE),
        ("train --batch-size 0", "--batch-size", WHOLE),
        ("train --seed -1", "--seed", WHOLE + "of at least 0, got '-1'"),
        ("train --shards 0 --resume", "--shards", WHOLE + "from 1 to "),
        ("bench --seed x --sweep 1", "--seed", WHOLE + "of at least 0, got 'x'"),
        ("bench --batch 0", "--batch", WHOLE),
        ("bench --sweep 99999999999999999999", "--sweep", WHOLE),
        ("bench --threads 1,-1", "--threads", THREADS + "'-1'"),
        ("bench --direction sideways", "--direction", "'sideways'"),
        ("bench --dtype int8", "--dtype", "'int8'"),
        ("bench --against torch,nobody", "--against", "'nobody'"),
        ("bench --save /nonexistent/x", "--save", "must be a file that can be written, got '/nonexistent/x': there is"),
        ("bench --json /nonexistent/x", "--json", "there is no folder /nonexistent"),
        ("bench --save ", "--save", "must be a file that can be written, got ''"),
        ("bench --roofline /", "--roofline", "must be a file, got '/', which is a folder"),
        ("bench --roofline roof.foo", "--roofline", "must end in one of .eps, "),
        ("bench --roofline /nonexistent/x", "--roofline", "there is no folder /nonexistent"),
        ("explain conv2d 1,2,8,99999999999999999999 3,2,3,3", "N,C,H,W", WHOLE),
        (
            "explain conv2d 8x64x56x56 64,64,3,3",
            "N,C,H,W",
            "must be numbers with commas between, such as 8,64,56,56, got '8x64x56x56': each " + WHOLE,
        ),
        ("explain conv2d (8,64,56,56) 64,64,3,3", "N,C,H,W", "with commas between, such as 8,64,56,56, got '(8,"),
        ("explain conv2d 1,2,8,8 3,2,3,3 --stride 2,a", "--stride", "with commas between, such as 2,1, got '2,a'"),
        ("explain conv2d 1,2,8,8 3,2,x,3", "C_OUT,C_IN,K,K", WHOLE + "from 0 to 9223372036854775807, got 'x'"),
        ("explain conv2d 1,2,8,8 3,2,3,3 --dilation 99999999999999999999", "--dilation", WHOLE),
        (
            "explain conv2d 1,2,8,8 3,2,3,3 --stride x",
            "--stride",
            "got 'x': each " + WHOLE + "from 1 to 9223372036854775807\n",
        ),
        ("explain conv2d 1,2,8,8 3,2,3,3 --padding sam", "--padding", "must be one of valid, full, same, "),
        ("explain conv2d 1,2,8,8 3,2,3,3 --groups 0", "--groups", WHOLE),
        ("explain conv2d 1,2,8,8 3,2,3,3 --threads 0", "--threads", THREADS + "'0'"),
        ("time lenet5 --threads -1", "--threads", THREADS + "'-1'"),
        ("time lenet5 --size 0", "--size", WHOLE),
        ("time lenet5 --batch -1", "--batch", WHOLE),
        ("run m.onnx --threads 0", "--threads", THREADS),
        (
            "run m.onnx --size 8x",
            "--size",
            "must be HxW or one number for both, whole and from 1 to 2147483647, got '8x'",
        ),
        ("run m.onnx --size 0x8", "--size", "got '0x8'"),
        ("run m.onnx --size 99999999999x8", "--size", "got '99999999999x8'"),
        ("run m.onnx --size 8x8x8", "--size", "got '8x8x8'"),
        ("run m.onnx --mean x", "--mean", "got 'x': each must be a finite number\n"),
        ("run m.onnx --std 1,0", "--std", "must be a finite number but 0, got '0'"),
        ("run m.onnx --std nan", "--std", "got 'nan': each must be a finite number but 0\n"),
    ],
)
def test_an_argument_that_cannot_be_is_named(line, option, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(line.split(" "))
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert f"argument {option}: " in said and message in said


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
@pytest.mark.parametrize("line", ["explain conv2d 1,2,8,8 3,2,3,3", "train --model linear --epochs 1"])
def test_nobody_who_reads_the_output_is_no_error(line, python):
    code = f"""
import os, sys
from convkit.cli import main
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
sys.exit(main({line.split()}))
"""
    result = python(code)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.thorough
def test_a_variable_that_cannot_be_is_one_line(python, tmp_path):
    """However the command is started; in any other process it is an error of the import."""
    for name in ("convkit", "script"):
        (tmp_path / name).write_text("from convkit.cli import main\nmain(['--version'])\n")
    for name, value in {"ISA": "avx3", "THREADING": "foo", "NUM_THREADS": "abc", "CACHE_LIMIT": "foo"}.items():
        given = {f"CONVKIT_{name}": value}
        result = python("", "-m", "convkit", **given)
        assert (result.returncode, result.stdout) == (2, "")
        assert re.fullmatch(f"convkit: CONVKIT_{name} must be .*, got '{value}'\n", result.stderr)
    for options in (["-mconvkit"], [str(tmp_path / "convkit")]):
        again = python("", *options, **given)
        assert (again.returncode, again.stdout, again.stderr) == (2, "", result.stderr)
    result = python("", str(tmp_path / "script"), **given)
    assert result.returncode == 1 and "\nRuntimeError: CONVKIT_CACHE_LIMIT must be " in result.stderr


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


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    (commands,) = (action for action in _parser()._actions if action.dest == "command")
    assert [action.dest for action in commands.choices[command]._actions if not action.help] == []
