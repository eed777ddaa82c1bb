"""How the deformable operators are called: views, out=, shapes in place of arrays, no batch, and every bad input."""

import inspect
import itertools
import re

import numpy as np
import pytest

import convkit
from cases import LAYOUTS, THOROUGH, arrange, assert_same_bits, each, restore
from deform_cases import GRADIENTS, IMAGES, Deform, backward, everything, named, random_data
from refusals import ones
from views import FORMS as OUT_FORMS
from views import VIEWS, with_canaries

SHAPES = named(
    "d_odd_sizes", "d_asymmetric_s2", "d_grouped_across", "d_depthwise_x3", "d_1d_s4_d3", "d_3d_mixed", "d_no_bias"
)


def of(problem: Deform) -> str:
    return problem.name


def call_backward(problem: Deform, operands: dict, **options):
    """convkit's gradients from operands by name."""
    operator = getattr(convkit, problem.backward)
    first = (operands[name] for name in ("grad", "x", "offset", "weight"))
    return operator(*first, mask=operands["mask"], **problem.arguments, **options)


def call_forward(problem: Deform, operands: dict, **options):
    """convkit's forward pass from operands by name."""
    operator = getattr(convkit, problem.forward)
    first = (operands[name] for name in ("x", "offset", "weight", "bias"))
    return operator(*first, mask=operands["mask"], **problem.arguments, **options)


# ---- arrays ----


@each(SHAPES, lambda problem: problem.name != "d_3d_mixed")
def test_views_are_read_in_place(problem, isa):
    """Every operand in every form of memory gives the bits of contiguous operands."""
    for dtype, layout in (("float32", "NCHW"), ("float32", "NHWC"), ("float64", "NCHW")):
        data = random_data(problem, dtype)
        expected = everything(data, layout)
        for view in VIEWS:
            operands = {n: None if a is None else view(a) for n, a in data.laid_out(layout).items()}
            grads = call_backward(problem, operands, layout=layout)._asdict()
            got = {"y": call_forward(problem, operands, layout=layout)} | grads
            got = {n: restore(a, layout) if n in IMAGES else a for n, a in got.items() if a is not None}
            assert_same_bits(got, expected, f"{view.__name__}, {layout}, {dtype}")


FORMS = ("steps", *(pytest.param(form, marks=THOROUGH) for form in OUT_FORMS if form != "steps"))


@pytest.mark.parametrize("form", FORMS)
@each(SHAPES, lambda problem: problem.name != "d_3d_mixed")
def test_strided_out(problem, form, isa):
    """Every result into a strided array; the elements between its own keep their values, and it is what is returned."""
    for dtype, layout in (("float32", "NCHW"), ("float32", "NHWC"), ("float64", "NCHW")):
        data = random_data(problem, dtype)
        operands, expected = data.laid_out(layout), everything(data, layout)
        views, checks = dict.fromkeys(GRADIENTS), []
        for name, array in expected.items():
            shape = (arrange(array, layout) if name in IMAGES else array).shape
            views[name], check = with_canaries(shape, dtype, form)
            checks.append(check)
        y = views.pop("y")
        assert call_forward(problem, operands, layout=layout, out=y) is y
        out = convkit.DeformGrads(**views)
        grads = call_backward(problem, operands, layout=layout, out=out)
        assert all(got is given for got, given in zip(grads, out, strict=True))
        got = {"y": y} | {name: view for name, view in views.items() if view is not None}
        got = {n: restore(a, layout) if n in IMAGES else a for n, a in got.items()}
        assert_same_bits(got, expected, f"{problem.name}, {layout}, {form}")
        for check in checks:
            check()


def test_operands_are_not_written(isa):
    for problem in SHAPES:
        data = random_data(problem, "float32")
        kept = {name: None if a is None else a.copy() for name, a in data.laid_out("NCHW").items()}
        everything(data)
        assert all(a is None or a.tobytes() == kept[name].tobytes() for name, a in data.laid_out("NCHW").items())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_without_a_batch(problem, layout):
    data = random_data(problem.but(n=1), "float32")
    operands = {n: a[0] if n in IMAGES and a is not None else a for n, a in data.laid_out(layout).items()}
    got = {"y": call_forward(problem, operands, layout=layout)}
    got |= call_backward(problem, operands, layout=layout)._asdict()
    got = {n: restore(a[None], layout) if n in IMAGES else a for n, a in got.items() if a is not None}
    assert_same_bits(got, everything(data, layout))


@pytest.mark.parametrize("problem", named("d_odd_sizes", "d_grouped_across", "d_even_kernel", "d_1d"), ids=of)
def test_only_what_is_needed(problem, isa):
    """Each subset of gradients has the bits of all five, and None for the rest."""
    data = random_data(problem, "float32")
    expected = backward(data)
    for count in (0, 1, 2, 3):
        for need in itertools.combinations(GRADIENTS, count):
            chosen = {name: expected[name] for name in need if name in expected}
            assert_same_bits(backward(data, need=need), chosen, str(need))
    assert_same_bits(backward(data, need="bias"), {"bias": expected["bias"]})


def test_a_mask_that_is_not_there_has_no_gradient():
    (problem,) = named("d_even_kernel")
    data = random_data(problem, "float32")
    assert (
        convkit.deform_conv2d_backward(data.grad, data.x, data.offset, data.weight, need="mask", **problem.arguments)
        == (None,) * 5
    )


@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_shapes_stand_in_for_what_is_not_read(problem):
    data = random_data(problem, "float32")
    expected, operands = backward(data), data.laid_out("NCHW")
    only_x = call_backward(problem, operands | {"x": data.x.shape}, need=("x", "bias"))
    assert_same_bits({"x": only_x.x, "bias": only_x.bias}, {"x": expected["x"], "bias": expected["bias"]})
    only_weight = call_backward(problem, operands | {"weight": data.weight.shape}, need=("weight", "bias"))
    assert_same_bits({"weight": only_weight.weight}, {"weight": expected["weight"]})
    bias = call_backward(problem, operands | {"x": data.x.shape, "weight": data.weight.shape}, need="bias").bias
    assert bias.tobytes() == expected["bias"].tobytes()


# ---- what is refused ----


def good(backward_too: bool, layout: str = "NCHW") -> dict:
    """Arguments of a good deform_conv2d call: 4 to 6 channels, 2 weight groups, 2 offset groups, 3x3."""
    arguments = {
        "x": ones(2, 4, 6, 7), "offset": ones(2, 36, 6, 7), "weight": ones(6, 2, 3, 3), "mask": ones(2, 18, 6, 7),
        "padding": 1,
    }  # fmt: skip
    if backward_too:
        return {"grad": ones(2, 6, 6, 7), **arguments}
    return {**arguments, "bias": ones(6)}


def assert_refused(change: dict, error, message: str, directions=(False, True)) -> None:
    """Fail unless the call with this change raises, in both directions, and writes nothing."""
    for backward_too in directions:
        operator = convkit.deform_conv2d_backward if backward_too else convkit.deform_conv2d
        known = inspect.signature(operator).parameters
        arguments = good(backward_too) | {name: value for name, value in change.items() if name in known}
        if "out" not in change and not backward_too:
            arguments["out"] = np.full((2, 6, 6, 7), 7, "float32")
        with pytest.raises(error, match=message):
            operator(**arguments)
        assert isinstance(arguments.get("out"), tuple) or (np.asarray(arguments.get("out", 7)) == 7).all()


SHAPE_ERRORS = {
    "x without axes": ({"x": ones()}, "x must have shape (N, C, H, W) or (C, H, W), got shape ()"),
    "x of one channel too many": ({"x": ones(2, 5, 6, 7)}, "x must have a multiple of weight.shape[1] = 2 channels"),
    "x without channels": ({"x": ones(2, 0, 6, 7)}, "x must have a multiple of weight.shape[1] = 2 channels"),
    "weight of three axes": ({"weight": ones(6, 2, 3)}, "weight must have shape (C_out, C_in/groups, kH, kW), got"),
    "weight groups": (
        {"weight": ones(5, 2, 3, 3)},
        "weight must have a multiple of C_in / weight.shape[1] = 4 / 2 = 2",
    ),
    "empty kernel": ({"weight": ones(6, 2, 0, 3)}, "weight.shape[2:] must be at least 1"),
    "kernel over the image": ({"weight": ones(6, 2, 9, 3)}, "weight.shape[2:] must fit the padded input"),
    "offset of torch's mask": (
        {"offset": ones(2, 17, 6, 7)},
        "offset must have shape (N, 2*G*prod(kernel), *out) = (2, 18*G, 6, 7) with G >= 1 offset groups, "
        "got shape (2, 17, 6, 7)",
    ),
    "offset of no group": ({"offset": ones(2, 0, 6, 7)}, "offset must have shape (N, 2*G*prod(kernel), *out)"),
    "offset of three groups": (
        {"offset": ones(2, 54, 6, 7)},
        "offset must have a number of groups that divides the 4 channels of x, got 54 channels, which at "
        "2*prod(kernel) = 18 a group are 3 groups",
    ),
    "offset of another size": ({"offset": ones(2, 36, 6, 6)}, "offset must have shape"),
    "offset without a batch": ({"offset": ones(36, 6, 7)}, "offset must have shape"),
    "offset of another batch": ({"offset": ones(1, 36, 6, 7)}, "offset must have shape"),
    "mask of one group": (
        {"mask": ones(2, 9, 6, 7)},
        "mask must have shape (2, 18, 6, 7), G*prod(kernel) channels for offset's G = 2, got shape (2, 9, 6, 7)",
    ),
    "mask as long as offset": ({"mask": ones(2, 36, 6, 7)}, "mask must have shape (2, 18, 6, 7)"),
    "mask of another size": ({"mask": ones(2, 18, 7, 6)}, "mask must have shape (2, 18, 6, 7)"),
    "mask of another batch": ({"mask": ones(1, 18, 6, 7)}, "mask must have shape (2, 18, 6, 7)"),
    "channels last": ({"layout": "NHWC"}, "x must have a multiple of weight.shape[1] = 2 channels"),
    "stride 0": ({"stride": 0}, "stride must be at least 1, got 0"),
    "padding below 0": ({"padding": -1}, "padding must be at least 0, got -1"),
    "padding of four": ({"padding": (1, 1, 1, 1)}, "padding must be one int, 2 ints or 2 (lo, hi) pairs"),
    "dilation 9": ({"dilation": 9}, "weight.shape[2:] must fit the padded input"),
    "layout": ({"layout": "NWHC"}, "layout must be one of NCHW, NHWC, got 'NWHC'"),
    "activation": ({"activation": "swish"}, "activation must be None"),
}


@pytest.mark.parametrize("case", SHAPE_ERRORS)
def test_shapes_and_options(case):
    change, message = SHAPE_ERRORS[case]
    assert_refused(change, ValueError, re.escape(message))


@pytest.mark.parametrize("name", ("x", "offset", "weight", "mask", "bias", "grad"))
def test_no_array_and_no_dtype(name):
    directions = {"bias": (False,), "grad": (True,)}.get(name, (False, True))
    for value in (1.0, "x", {}, ones(2, 3).astype(int), ones(2, 3).astype("f2"), np.ma.masked_array(ones(2, 3))):
        assert_refused({name: value}, TypeError, f"{name} must be (a )?float32 or float64", directions)
    other = good(name == "grad").get(name, ones(6)).astype("float64")
    message = f"{name} must have the dtype of" if name not in ("x", "grad") else "must have the dtype of"
    assert_refused({name: other}, TypeError, message if name != "x" else " must have the dtype of", directions)


@pytest.mark.parametrize("change", ({"stride": 1.5}, {"dilation": True}, {"padding": None}, {"layout": 1}), ids=str)
def test_wrong_types(change):
    (name,) = change
    assert_refused(change, TypeError, f"{name} must be")


def test_backward_alone():
    cases = (
        ({"grad": ones(2, 6, 6, 6)}, ValueError, "grad must have shape (2, 6, 6, 7), that of the output"),
        ({"need": "offsets"}, ValueError, "need must be one of x, offset, mask, weight, bias, got 'offsets'"),
        ({"activation": "relu"}, ValueError, "y must be the output of the forward call"),
        ({"activation": "relu", "y": ones(6)}, ValueError, "y must have shape"),
        ({"x": (2, 4, 6, 7)}, TypeError, "x must be an array where need includes 'weight'"),
        ({"x": (2, 4, 6, 7), "need": "offset"}, TypeError, "x must be an array where need includes 'offset'"),
        ({"x": (2, 4, 6, 7), "need": "mask"}, TypeError, "x must be an array where need includes 'mask'"),
        ({"weight": (6, 2, 3, 3), "need": "x"}, TypeError, "weight must be an array where need includes 'x'"),
        ({"weight": (6, 2, 3, 3), "need": "mask"}, TypeError, "weight must be an array where need includes 'mask'"),
        ({"offset": (2, 36, 6, 7)}, TypeError, "offset must be a float32 or float64 array, got tuple"),
        ({"out": []}, TypeError, "out must be a tuple of five arrays or None"),
        ({"out": (None,) * 3}, ValueError, "out must be a tuple of five arrays or None"),
        ({"out": (None, ones(3), None, None, None)}, ValueError, "out.offset must have shape (2, 36, 6, 7), got (3,)"),
        ({"out": (None, None, ones(3), None, None), "need": "x"}, ValueError, "out.mask must be None where need does"),
        ({"out": (None, None, ones(3), None, None), "mask": None}, ValueError, "out.mask must be None where no mask"),
    )
    for change, error, message in cases:
        assert_refused(change, error, re.escape(message), (True,))


def test_out_must_not_overlap():
    arguments = good(False)
    for name in ("x", "offset", "mask"):
        out = arguments[name].ravel()[: 2 * 6 * 6 * 7] if arguments[name].size >= 504 else None
        if out is not None:
            with pytest.raises(ValueError, match=f"out must not share memory with {name}"):
                convkit.deform_conv2d(**arguments, out=out.reshape(2, 6, 6, 7))
    arguments = good(True)
    for name in ("x", "offset", "mask", "weight"):
        out = tuple(arguments[name] if field == name else None for field in GRADIENTS)
        with pytest.raises(ValueError, match=f"out.{name} must not share memory with {name}"):
            convkit.deform_conv2d_backward(**arguments, out=out)


def test_sizes_past_64_bits():
    huge = np.broadcast_to(np.float32(0), (2**40, 4, 1, 1))
    with pytest.raises(OverflowError, match="x, weight and padding must give an output of fewer"):
        convkit.deform_conv2d(huge, ones(1, 2, 1, 1), np.broadcast_to(np.float32(0), (2**30, 4, 1, 1)), padding=2**10)
    with pytest.raises(OverflowError, match="stride must fit a 64-bit integer"):
        convkit.deform_conv2d(**good(False), stride=2**64)


def test_nothing_to_write_takes_no_time():
    """A million million images without output channels: virtual, and done at once."""
    images, offset = (np.broadcast_to(np.float32(1), (2**40, channels, 1, 1)) for channels in (1, 2))
    weight, grad = ones(0, 1, 1, 1), ones(2**40, 0, 1, 1)
    assert convkit.deform_conv2d(images, offset, weight).shape == (2**40, 0, 1, 1)
    grads = convkit.deform_conv2d_backward(grad, images, offset, weight, need=("weight", "bias"))
    assert grads.weight.shape == (0, 1, 1, 1)
    assert grads.bias.shape == (0,)


@pytest.mark.parametrize("name", sorted(name for name in dir(convkit) if name.startswith("deform")))
def test_documentation(name):
    """Every argument is documented, and the reference has the same signature without out."""
    operator, reference = getattr(convkit, name), getattr(convkit.reference, name)
    parameters = inspect.signature(operator).parameters
    assert [p for p in parameters if p != "out"] == list(inspect.signature(reference).parameters)
    assert all(re.search(rf"^(\w+, )*{p}(, \w+)* ?", operator.__doc__, re.MULTILINE) for p in parameters)
    assert "arXiv:1703.06211" in operator.__doc__
