"""Good calls of the operators, and the one way to show that a bad one is refused: with a message, nothing written."""

import re
from functools import cache

import numpy as np

import convkit

NDS = (1, 2, 3)


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def huge(*shape):
    """As large as one likes, in four bytes."""
    return np.broadcast_to(np.float32(1), shape)


def good_call(name):
    """Function and good arguments of an operator, first the array that settles the dtype; `out` where it has one."""
    function = getattr(convkit, name)
    if name.startswith("linear"):
        x, weight = {"x": ones(3, 4)}, {"weight": ones(5, 4)}
        if name.endswith("backward"):
            return function, {"grad": ones(3, 5)} | x | weight
        return function, x | weight | {"bias": ones(5), "out": ones(3, 5)}
    if name == "im2col":
        return function, {"x": ones(2, 4, 6, 6), "kernel_size": (3, 3)}
    if name == "col2im":
        return function, {"cols": ones(2, 36, 16), "output_size": (6, 6), "kernel_size": (3, 3)}
    if name.startswith(("interpolate", "grid_sample")):
        return function, _good_resampling()[name]
    nd = axes_of(name)
    x, weight, y = ones(2, 4, *(6,) * nd), ones(8, 2, *(3,) * nd), ones(2, 8, *(4,) * nd)
    if name.startswith("conv_transpose"):
        x, weight, y = y, weight, x
    channels = y.shape[1]
    if not name.endswith("backward"):
        return function, {"x": x, "weight": weight, "bias": ones(channels), "groups": 2, "out": ones(*y.shape)}
    out = convkit.ConvGrads(ones(*x.shape), ones(*weight.shape), ones(channels))
    return function, {"grad": y, "x": x, "weight": weight, "groups": 2, "out": out}


def _good_resampling():
    x, y, grid = ones(2, 3, 4, 5), ones(2, 3, 8, 10), ones(2, 8, 10, 2)
    doubled = {"scale_factor": 2, "mode": "bilinear"}
    return {
        "interpolate": {"x": x, "out": y} | doubled,
        "interpolate_backward": {"grad": y, "x_shape": x.shape} | doubled,
        "grid_sample": {"x": x, "grid": grid, "out": y},
        "grid_sample_backward": {"grad": y, "x": x, "grid": grid},
    }


def axes_of(name):
    """Spatial axes of a convolution, by its name."""
    return int(name.removesuffix("_backward")[-2])


@cache
def _runs(name):
    """The call is good without changes."""
    function, call = good_call(name)
    function(**{**call, "out": None} if "out" in call else call)


def refusal(function, call):
    """The exception that a call raises, or its result."""
    try:
        return function(**call)
    except Exception as error:
        return error


def assert_refused(name, changes, error, message):
    """The call with these changes raises `error` with `message`, and leaves `out` as it was."""
    _runs(name)
    function, call = good_call(name)
    call |= changes
    out = call.get("out")
    arrays = [array for array in (out if isinstance(out, tuple) else (out,)) if isinstance(array, np.ndarray)]
    before = [array.tobytes() for array in arrays]
    got = refusal(function, call)
    assert isinstance(got, error), f"{name} with {sorted(changes)} gave {got!r}, not {error.__name__} {message!r}"
    assert re.match(message, str(got)), f"{name} with {sorted(changes)} said {str(got)!r}, not {message!r}"
    assert [array.tobytes() for array in arrays] == before
