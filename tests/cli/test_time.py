"""`convkit time`: a network's time, in words and as JSON."""

import json

import pytest

from convkit import cli


@pytest.mark.thorough
def test_the_time_of_a_network(brief, capsys):
    assert cli.main(["time", "lenet5", "--batch", "2", "--threads", "1", "--explain"]) == 0
    said = capsys.readouterr().out
    assert "lenet5, 2x1x32x32: " in said and "Conv+Tanh" in said and " on 1 thread (" in said


def test_as_json(brief, capsys):
    assert cli.main(["time", "lenet5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["input"] == [1, 1, 32, 32] and told["seconds"] > 0 and not told["unsteady"]
    assert told["nodes"][0]["op"] == "Conv+Tanh"


def test_images_that_do_not_fit_memory(capsys):
    for options in (["--size", "99999999"], ["--batch", "99999999999999"]):
        assert cli.main(["time", "lenet5", *options]) == 1
        assert "--size and --batch must give images that fit memory, got (" in capsys.readouterr().err


def test_a_size_for_no_pictures(capsys):
    assert cli.main(["time", "dcgan_generator", "--size", "50"]) == 1
    assert "--size must be left out for dcgan_generator, which takes no pictures" in capsys.readouterr().err


def test_a_layer_that_refuses_is_named(capsys):
    assert cli.main(["time", "lenet5", "--size", "28"]) == 1
    assert "; in layer '5': Linear(400, 120" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_size_that_does_not_fit(capsys):
    assert cli.main(["time", "unet", "--size", "33"]) == 1
    assert "divisible by 16" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["time", "nothing"])
