"""`verify`: right where all is right, and not where something is wrong."""

import numpy as np
import pytest

import convkit
from convkit import _verify
from convkit.cli import main


def test_this_machine_is_right(capsys, any_isa):
    assert main(["verify"]) == 0
    text = capsys.readouterr().out
    assert text.endswith(" calls: all right\n") and "WRONG" not in text
    heading, *lines, results, error, _ = text.splitlines()
    assert heading.split() == ["operator", "kernels", "results", "error", "/", "bound"]
    assert results.startswith("results: arrays ") and error.startswith("error / bound: the largest error ")
    rows = [(line[:18].strip(), *line[38:].split()) for line in lines]
    assert {row[1] for row in rows} == {*convkit.available_isas()}
    assert {row[0] for row in rows} >= {"conv2d", "conv_transpose2d", "deform_conv2d", "linear", "avg_pool2d"}
    assert all(int(row[2]) >= 4 and float(row[3]) <= 1 for row in rows)
    assert convkit.isa() == convkit.available_isas()[-1]


def a_unit_off(y):
    y.flat[-1] += np.spacing(np.abs(y).max()) * 8
    return y


def not_a_number(y):
    y.flat[0] = np.nan
    return y


def cut(y):
    return y[..., :-1]


@pytest.fixture
def spoilt(monkeypatch, any_isa):
    """Has an operator's results spoilt; the best instruction set alone is asked."""
    monkeypatch.setattr(_verify, "available_isas", lambda: (convkit.isa(),))

    def one(name, spoil):
        def operator(asked):
            right = getattr(convkit, asked)
            return (lambda *args, **options: spoil(right(*args, **options))) if asked == name else right

        monkeypatch.setattr(_verify, "_operator", operator)

    return one


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("linear", a_unit_off),
        ("max_pool2d", not_a_number),
        ("conv2d", cut),
    ],
)
def test_what_is_wrong_is_found(spoilt, capsys, name, spoil):
    spoilt(name, spoil)
    assert main(["verify"]) == 1
    *_, last = lines = capsys.readouterr().out.splitlines()
    wrong = [line for line in lines[1:-1] if "WRONG" in line]
    assert wrong and all(line.startswith(f"{name} ") and f"y of {name} in float32" in line for line in wrong)
    assert last == f"{len(wrong)} call{'s' * (len(wrong) > 1)} WRONG"


def test_bits_that_follow_from_the_threads_are_found(spoilt):
    def unsteady(y):
        y.flat[0] = np.nextafter(y.flat[0], 0 if convkit.get_num_threads() > 1 else y.flat[0])
        return y

    spoilt("conv_transpose2d", unsteady)
    found = convkit.verify()
    (check,) = (check for check in found.checks if check.wrong)
    assert check.operator == "conv_transpose2d" and all("other bits on several threads" in text for text in check.wrong)
    assert not found.ok
