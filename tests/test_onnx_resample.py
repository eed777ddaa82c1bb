"""The ONNX standard's Resize and GridSample vectors through the public operators."""

import math

import numpy as np
import pytest

import convkit
import onnx_vectors

ANSWER = 5e-7  # of the largest: what ONNX's answers, themselves sums in float32, may be off
FOUR_DIGITS = {"test_gridsample_bicubic": 5.01e-5}  # answers written down to four decimals
GRIDS = onnx_vectors.names("GridSample")
RESIZES = onnx_vectors.names("Resize")
RESIZE_MODES = {"nearest": "nearest-exact", "linear": "bilinear", "cubic": "bicubic"}
GRID_MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}

# Where a place lies halfway between two elements, ONNX takes the lower one and "nearest-exact" the upper one. On these
# sizes ONNX's choice is that of "nearest", everywhere.
BY_NEAREST = {
    "test_resize_downsample_sizes_nearest_not_larger",
    "test_resize_upsample_sizes_nearest",
    "test_resize_upsample_sizes_nearest_axes_2_3",
    "test_resize_upsample_sizes_nearest_axes_3_2",
    "test_resize_upsample_sizes_nearest_not_larger",
}
ANTIALIAS = "with antialias these vectors count the edge for what lies beyond it, convkit and PyTorch leave that out"
HALVES = "halfway between two elements ONNX takes the lower one, neither of convkit's nearest modes does"
NEAREST_MODE = "convkit has no other rounding of places than floor"
SYMMETRIC = "convkit has no half_pixel_symmetric: PyTorch has none"
UNROUNDED = "with align_corners ONNX maps scale * in - 1 to in - 1, convkit and PyTorch the output's size - 1"
CROP = "convkit has no tf_crop_and_resize"
COEFFICIENT = "convkit's cubic has A = -0.75 and repeats the edge"
WITHOUT = {
    "test_resize_downsample_scales_cubic_A_n0p5_exclude_outside": COEFFICIENT,
    "test_resize_downsample_scales_cubic_align_corners": UNROUNDED,
    "test_resize_downsample_scales_cubic_antialias": ANTIALIAS,
    "test_resize_downsample_scales_linear_align_corners": UNROUNDED,
    "test_resize_downsample_scales_linear_antialias": ANTIALIAS,
    "test_resize_downsample_scales_linear_half_pixel_symmetric": SYMMETRIC,
    "test_resize_downsample_sizes_cubic_antialias": ANTIALIAS,
    "test_resize_downsample_sizes_linear_antialias": ANTIALIAS,
    "test_resize_downsample_sizes_linear_pytorch_half_pixel": "convkit has no special place for an output of size 1",
    "test_resize_downsample_sizes_nearest": HALVES,
    "test_resize_downsample_sizes_nearest_not_smaller": HALVES,
    "test_resize_tf_crop_and_resize": CROP,
    "test_resize_tf_crop_and_resize_axes_2_3": CROP,
    "test_resize_tf_crop_and_resize_axes_3_2": CROP,
    "test_resize_tf_crop_and_resize_extrapolation_value": CROP,
    "test_resize_upsample_scales_cubic_A_n0p5_exclude_outside": COEFFICIENT,
    "test_resize_upsample_scales_cubic_asymmetric": "convkit has asymmetric places for nearest alone",
    "test_resize_upsample_scales_linear_half_pixel_symmetric": SYMMETRIC,
    "test_resize_upsample_sizes_nearest_ceil_half_pixel": NEAREST_MODE,
    "test_resize_upsample_sizes_nearest_floor_align_corners": NEAREST_MODE,
    "test_resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric": NEAREST_MODE,
}
PASSING = [name for name in RESIZES if name not in WITHOUT]


def test_all_cases_are_there():
    assert len(GRIDS) == 18
    assert len(RESIZES) == 39
    assert WITHOUT.keys() < set(RESIZES)
    assert BY_NEAREST < set(PASSING)
    assert len(PASSING) == 18


def sizes(attributes, inputs) -> dict:
    """`size` or `scale_factor` of a node on images; one that keeps the aspect ratio has its size from the standard."""
    shape, scales = inputs[0].shape, inputs[2]
    axes = attributes.get("axes", range(4))
    given = dict(zip(axes, scales if scales is not None else inputs[3], strict=True))
    if scales is not None:
        return {"scale_factor": (float(given[2]), float(given[3]))}
    policy = {"not_larger": min, "not_smaller": max}.get(attributes.get("keep_aspect_ratio_policy"))
    if policy is None:
        return {"size": (int(given[2]), int(given[3]))}
    ratio = policy(given[axis] / shape[axis] for axis in axes)
    return {"size": tuple(math.floor(ratio * shape[axis] + 0.5) for axis in (2, 3))}


def assert_answers(name, got, expected, dtype) -> None:
    """Fail unless the results have the dtype and are the answers but for ONNX's own rounding."""
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, 0, FOUR_DIGITS.get(name, ANSWER * np.abs(expected).max()))


def in_layout(operator, x, layout, *arguments, **options):
    """NCHW in and out, computed in `layout`."""
    if layout == "NCHW":
        return operator(x, *arguments, **options)
    return np.moveaxis(operator(np.moveaxis(x, 1, -1), *arguments, layout=layout, **options), -1, 1)


@pytest.mark.parametrize("name", PASSING)
def test_resize(name, isa):
    attributes, inputs, (expected,) = onnx_vectors.load(name)
    mode = "nearest" if name in BY_NEAREST else RESIZE_MODES[attributes["mode"]]
    corners = attributes.get("coordinate_transformation_mode") == "align_corners"
    for dtype in (np.float32, np.float64):
        x = inputs[0].astype(dtype)
        for layout in ("NCHW", "NHWC"):
            options = sizes(attributes, inputs) | {"mode": mode, "align_corners": corners}
            got = in_layout(convkit.interpolate, x, layout, **options)
            assert_answers(name, got, expected, dtype)


@pytest.mark.parametrize("name", GRIDS)
def test_grid_sample(name, isa):
    attributes, (x, grid), (expected,) = onnx_vectors.load(name)
    mode = GRID_MODES[attributes.get("mode", "linear")]
    arguments = (mode, attributes.get("padding_mode", "zeros"), bool(attributes.get("align_corners", 0)))
    for dtype in (np.float32, np.float64):
        for layout in ("NCHW", "NHWC"):
            got = in_layout(convkit.grid_sample, x.astype(dtype), layout, grid.astype(dtype), *arguments)
            assert_answers(name, got, expected, dtype)
