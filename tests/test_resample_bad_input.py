"""Resampling refuses every bad input: the exception, a message with the argument, expected and got; nothing written."""

import inspect

import numpy as np
import pytest

import convkit
from refusals import assert_refused, good_call, huge, ones

OPERATORS = ("interpolate", "interpolate_backward", "grid_sample", "grid_sample_backward")
BAD = {
    "interpolate": [
        ({"x": None}, TypeError, "x must be a float32 or float64 array, got NoneType"),
        ({"x": [[1.0]]}, TypeError, "x must be a float32 or float64 array, got list"),
        ({"x": np.ones((2, 3, 4, 5), np.int64)}, TypeError, "x must be float32 or float64, got dtype int64"),
        ({"x": ones(4, 5)}, ValueError, r"x must have shape \(N, C, \*spatial\) with 1 to 3.*, got shape \(4, 5\)"),
        ({"x": ones(2, 4, 5, 3, 1, 1), "layout": "NHWC"}, ValueError, r"x must have shape \(N, \*spatial, C\)"),
        ({"x": ones(2, 3, 0, 5)}, ValueError, r"x must have an element along every .*, got shape \(2, 3, 0, 5\)"),
        ({"scale_factor": None}, ValueError, "size or scale_factor must be given, .*, got neither"),
        ({"size": 7}, ValueError, r"size or scale_factor must be given, .*, got both, 7 and 2"),
        ({"scale_factor": None, "size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"scale_factor": None, "size": (3, 4, 5)}, ValueError, r"size must be one int or 2 ints.*, got \(3, 4, 5\)"),
        ({"scale_factor": None, "size": 2.5}, TypeError, "size must be an int.*, got 2.5"),
        ({"scale_factor": None, "size": True}, TypeError, "size must be an int.*, got True"),
        ({"scale_factor": None, "size": 2**62}, OverflowError, r"x and size must give an output of fewer"),
        ({"scale_factor": "2"}, TypeError, "scale_factor must be a real number, .*, got '2' of type str"),
        ({"scale_factor": True}, TypeError, "scale_factor must be a real number, .*, got True"),
        ({"scale_factor": (2, 2, 2)}, ValueError, r"scale_factor must be one number or 2.*, got \(2.0, 2.0, 2.0\)"),
        ({"scale_factor": -1}, ValueError, "scale_factor must be positive and finite, got -1.0"),
        ({"scale_factor": np.nan}, ValueError, "scale_factor must be positive and finite, got nan"),
        ({"scale_factor": np.inf}, ValueError, "scale_factor must be positive and finite, got inf"),
        ({"scale_factor": 0.2}, ValueError, "scale_factor must leave every axis an element, got 0.2 for an axis of 4"),
        ({"scale_factor": 1e30}, OverflowError, r"scale_factor must keep every axis below 2\*\*63, got 1e\+30"),
        ({"mode": "trilinear"}, ValueError, "mode must be for 2 spatial axes.*, got 'trilinear', which is for 3"),
        ({"mode": "lanczos"}, ValueError, "mode must be one of nearest, .*, got 'lanczos'"),
        ({"mode": "area", "align_corners": True}, ValueError, "align_corners must be False .* 'area', got True"),
        ({"mode": "area", "antialias": True}, ValueError, "antialias must be False where mode is 'area', got True"),
        ({"antialias": 1}, TypeError, "antialias must be a bool, got 1 of type int"),
        ({"mode": 2}, TypeError, "mode must be one of nearest, .*, got 2"),
        ({"mode": ["linear"]}, TypeError, r"mode must be one of nearest, .*, got \['linear'\]"),
        ({"mode": "nearest", "align_corners": True}, ValueError, "align_corners must be False .* 'nearest', got True"),
        ({"align_corners": 1}, TypeError, "align_corners must be a bool, got 1 of type int"),
        ({"align_corners": None}, TypeError, "align_corners must be a bool, got None"),
        ({"layout": "NWHC"}, ValueError, "layout must be one of NCHW, NHWC, got 'NWHC'"),
        ({"layout": 1}, TypeError, "layout must be one of NCHW, NHWC, got 1"),
        ({"out": ones(2, 3, 8, 9)}, ValueError, r"out must have shape \(2, 3, 8, 10\), got \(2, 3, 8, 9\)"),
        ({"out": ones(2, 3, 8, 10, dtype=float)}, TypeError, "out must have dtype float32, got float64"),
        ({"mode": np.str_("lanczos")}, ValueError, "mode must be one of nearest, .*, got np.str_"),
        ({"scale_factor": 10**400}, OverflowError, "scale_factor must fit a float"),
        ({"x": huge(2**20, 2**20, 2, 2), "scale_factor": 2.0**12}, OverflowError, r"x and scale_factor must give"),
        ({"x": huge(2**20, 2**20, 2, 2), "scale_factor": 64, "out": None}, MemoryError, r"cannot allocate \d+ bytes"),
    ],
    "interpolate_backward": [
        ({"grad": ones(2, 3, 8, 9)}, ValueError, r"grad must have shape \(2, 3, 8, 10\), .*, got shape"),
        ({"grad": ones(2, 3, 8)}, ValueError, r"grad must have as many axes as x_shape, 4, got shape"),
        ({"grad": None}, TypeError, "grad must be a float32 or float64 array, got NoneType"),
        ({"x_shape": (2, 3, 4, -1)}, ValueError, "x_shape as a shape must have sizes of at least 0"),
        ({"x_shape": 4}, TypeError, "x_shape must be a tuple of ints, got 4 of type int"),
        ({"scale_factor": None, "grad": ones(2, 4, 8, 10)}, ValueError, "grad must have shape"),
        ({"scale_factor": None, "grad": ones(2, 3, 0, 10)}, ValueError, "size must be at least 1"),
        ({"x_shape": (2, 3, 2**62, 2**62), "grad": ones(2, 3, 2, 2), "scale_factor": None},
         OverflowError, "x_shape"),
    ],
    "grid_sample": [
        ({"x": None}, TypeError, "x must be a float32 or float64 array, got NoneType"),
        ({"grid": [[1.0]]}, TypeError, "grid must be a float32 or float64 array, got list"),
        ({"grid": ones(2, 8, 10, 2, dtype=float)}, TypeError, "grid must have the dtype of x, float32, got float64"),
        ({"grid": ones(2, 8, 10, 4)}, ValueError, r"grid must have shape .*, got shape \(2, 8, 10, 4\)"),
        ({"grid": ones(2, 8, 10, 1)}, ValueError, r"grid must have shape .*, got shape \(2, 8, 10, 1\)"),
        ({"grid": ones(2, 2)}, ValueError, r"grid must have shape .*, got shape \(2, 2\)"),
        ({"grid": np.float32(1)}, ValueError, r"grid must have shape .*, got shape \(\)"),
        ({"grid": ones(2, 8, 10, 9, 3)}, ValueError, r"grid must have a batch axis where x has one, .*, got"),
        ({"grid": ones(8, 10, 2)}, ValueError, r"grid must have a batch axis where x has one.*, got shape"),
        ({"grid": ones(3, 8, 10, 2)}, ValueError, "grid must have as many images as x, 2, got shape"),
        ({"x": ones(2, 3, 0, 5)}, ValueError, r"x must have an element along every .*, got shape \(2, 3, 0, 5\)"),
        ({"x": ones(4, 5)}, ValueError, r"x must have shape \(N, C, H, W\)"),
        ({"mode": "linear"}, ValueError, "mode must be one of nearest, bilinear, bicubic, got 'linear'"),
        ({"mode": 0}, TypeError, "mode must be one of nearest, bilinear, bicubic, got 0 of type int"),
        ({"mode": []}, TypeError, "mode must be one of nearest, bilinear, bicubic, got"),
        ({"mode": "bicubic", "x": ones(2, 3, 4, 5, 6), "grid": ones(2, 8, 10, 2, 3), "out": None}, ValueError,
         "mode must be nearest or bilinear for x with 3 spatial axes, got 'bicubic'"),
        ({"padding_mode": "reflect"}, ValueError, "padding_mode must be one of zeros, border, .*, got 'reflect'"),
        ({"padding_mode": None}, TypeError, "padding_mode must be one of zeros, border, reflection, got None"),
        ({"align_corners": 1}, TypeError, "align_corners must be a bool, got 1 of type int"),
        ({"align_corners": None}, TypeError, "align_corners must be a bool, got None"),
        ({"layout": "NWHC"}, ValueError, "layout must be one of NCHW, NHWC, got 'NWHC'"),
        ({"layout": {}}, TypeError, "layout must be one of NCHW, NHWC, got {}"),
        ({"out": ones(2, 3, 8, 9)}, ValueError, r"out must have shape \(2, 3, 8, 10\), got \(2, 3, 8, 9\)"),
        ({"out": ones(2, 3, 8, 10, dtype=float)}, TypeError, "out must have dtype float32, got float64"),
        ({"x": huge(1, 2**40, 4, 4), "grid": huge(1, 2**20, 2**20, 2), "out": None}, OverflowError,
         "x and grid must give an output of fewer"),
        ({"x": huge(1, 2**30, 4, 4), "grid": huge(1, 2**14, 2**14, 2), "out": None}, MemoryError,
         r"cannot allocate \d+ bytes"),
    ],
    "grid_sample_backward": [
        ({"grad": ones(2, 3, 8, 9)}, ValueError, r"grad must have shape \(2, 3, 8, 10\), .*, got shape"),
        ({"grad": ones(2, 3, 8, 10, dtype=float)}, TypeError, "x must have the dtype of grad, float64, got"),
        ({"x": (2, 3, 4, 5)}, TypeError, "x must be an array where need includes 'grid', got tuple"),
        ({"x": (2, 3, 4, -5), "need": "x"}, ValueError, "x as a shape must have sizes of at least 0"),
        ({"need": "weight"}, ValueError, "need must"),
        ({"need": 1}, TypeError, "need must"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"), [(name, *bad) for name in OPERATORS for bad in BAD[name]]
)
def test_bad_input(name, changes, error, message):
    assert_refused(name, changes, error, message)


@pytest.mark.parametrize(("name", "inputs"), [("interpolate", ("x",)), ("grid_sample", ("x", "grid"))])
def test_out_must_be_fit_for_writing(name, inputs):
    memory = ones(4 * 2 * 3 * 8 * 10)
    for key in inputs:
        good = good_call(name)[1][key]
        shared = np.lib.stride_tricks.as_strided(memory, good.shape, ones(*good.shape).strides)
        out = memory[: 2 * 3 * 8 * 10].reshape(2, 3, 8, 10)
        assert_refused(name, {key: shared, "out": out}, ValueError, f"out must not share memory with {key}")
    read_only = ones(2, 3, 8, 10)
    read_only.flags.writeable = False
    assert_refused(name, {"out": read_only}, ValueError, "out must be writable, got a read-only array")
    overlapping = np.lib.stride_tricks.as_strided(memory, (2, 3, 8, 10), (4, 4, 4, 4))
    assert_refused(name, {"out": overlapping}, ValueError, "out must not overlap itself")
    assert_refused(name, {"out": huge(2, 3, 8, 10)}, ValueError, "out must be writable")


@pytest.mark.thorough
def test_only_documented_exceptions():
    """Two arguments replaced by anything: a result, or an exception that the documentation names."""
    values = [
        None, 0, 1, 2, -1, 2**62, 2**63, True, 1.5, "2", {}, [2, 2], (), (1,), (2, 1), (1, (1, 1)), "linear", "nearest",
        "bicubic", "border", "NHWC", np.int64(2), np.float32(2), np.nan, ones(3), ones(2, 3, 4), ones(0, 3, 4, 5),
        ones(2, 3, 8, 10), ones(2, 8, 10, 3), ones(2, 8, 8, 10, 3), ones(2, 0, 10, 2), (2, 3, 4, 5), object(),
        np.str_("bilinear"),
    ]  # fmt: skip
    rng, results = np.random.default_rng(5), 0
    for name in OPERATORS:
        own = ("size", "scale_factor") if name == "interpolate" else ("padding_mode", "need")
        for _ in range(600):
            function, good = good_call(name)
            good.pop("out", None)
            names = [*good, "mode", "align_corners", "layout", *(key for key in own if key != "need" or "back" in name)]
            if name == "interpolate_backward":
                names = [*good, "align_corners", "layout"]
            good |= {str(key): values[rng.integers(len(values))] for key in rng.choice(names, 2)}
            try:
                function(**good)
                results += 1
            except (TypeError, ValueError, OverflowError, MemoryError) as error:
                assert str(error)
    assert results > 20


def test_names_may_be_any_str():
    x, grid = np.random.default_rng(0).random((2, 3, 4, 5)), np.zeros((2, 8, 10, 2))
    name = np.str_("bilinear")
    assert np.array_equal(convkit.interpolate(x, 7, mode=name), convkit.interpolate(x, 7, mode="bilinear"))
    assert np.array_equal(convkit.grid_sample(x, grid, name), convkit.grid_sample(x, grid))


@pytest.mark.parametrize("name", OPERATORS)
def test_documentation_and_signatures(name):
    """Every argument and error is documented, and the reference has the same signature without `out`."""
    function = getattr(convkit, name)
    parameters = list(inspect.signature(function).parameters)
    for section in ("Parameters", "Returns", "Raises", "References"):
        assert f"\n{section}\n----" in inspect.getdoc(function)
    assert all(parameter in function.__doc__ for parameter in parameters)
    reference = getattr(convkit.reference, name)
    assert [p for p in parameters if p != "out"] == list(inspect.signature(reference).parameters)
