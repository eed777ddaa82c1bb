"""explain: what it says is what runs, and the figures follow from the shapes."""

import dataclasses
import json

import numpy as np
import pytest

import convkit
from convkit.cli import main

PADDED = {"padding": 1}
CASES = [  # op, x, weight, options; algorithm, arrangement among
    (("conv2d", (2, 64, 28, 28), (32, 64, 3, 3), PADDED), "winograd", (None,)),
    (("conv2d", (2, 64, 28, 28), (32, 64, 3, 3), PADDED | {"direction": "x"}), "winograd", (None,)),
    (("conv2d", (2, 64, 28, 28), (32, 64, 3, 3), PADDED | {"direction": "weight"}), "winograd", (None,)),
    (("conv2d", (2, 64, 28, 28), (32, 64, 1, 1), {}), "implicit_gemm", ("by_pixel", "by_channel")),
    (("conv1d", (2, 32, 99), (32, 1, 7), {"groups": 32}), "direct", ("by_pixel", "by_channel", "by_group")),
    (("conv2d", (1, 8, 56, 56), (8, 1, 3, 3), PADDED | {"groups": 8}), "direct", ("sheets",)),
    (("conv2d", (2, 56, 56, 32), (32, 1, 3, 3), PADDED | {"groups": 32, "layout": "NHWC"}), "direct", ("lines",)),
    (("conv3d", (4, 9, 9, 9), (8, 4, 3, 3, 3), {"algorithm": "im2col"}), "im2col", ("by_pixel",)),
    (("conv_transpose2d", (1, 96, 9, 9), (96, 3, 8, 8), {"stride": 4}), "im2col", (None,)),
    (("conv_transpose2d", (1, 8, 9, 9), (8, 3, 8, 8), {"stride": 4}), "implicit_gemm", ("by_pixel", "by_channel")),
    (("conv1d", (2, 2, 34), (96, 2, 10), {"dilation": 2, "direction": "x"}), "im2col", (None,)),
    (("conv1d", (2, 8, 34), (96, 8, 9), {"padding": 4, "direction": "x"}), "implicit_gemm", ("by_channel",)),
    (("conv_transpose2d", (1, 16, 12, 12), (16, 16, 3, 3), {"direction": "x"}), "winograd", (None,)),
]


@pytest.mark.parametrize(("asked", "algorithm", "arrangements"), CASES)
def test_what_it_says_is_what_runs(asked, algorithm, arrangements):
    """The algorithm by the bits of a call that names it; the arrangement by its estimate, the least, or without one."""
    op, x_shape, weight_shape, options = asked
    told = convkit.explain(op, x_shape, weight_shape, **options)
    assert told.algorithm == algorithm
    assert set(told.rejected) == {"implicit_gemm", "im2col", "direct", "winograd"} - {algorithm}
    assert told.arrangement in arrangements
    assert told.reads in {None: (None,), "lines": ("input",), "sheets": ("input",)}.get(
        told.arrangement, ("columns",) if algorithm == "im2col" else ("window", "input", "columns")
    )
    if told.arrangement == "lines":
        assert (told.estimates, told.estimate) == ({}, 0)
    elif told.arrangement:
        assert told.estimates[told.arrangement] == min(told.estimates.values()) == told.estimate
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal(x_shape, np.float32), rng.standard_normal(weight_shape, np.float32)
    options = {name: value for name, value in options.items() if name not in ("direction", "algorithm")}
    y = getattr(convkit, op)(x, weight, **options)
    if told.direction == "forward":
        got = getattr(convkit, op)(x, weight, **options, algorithm=algorithm)
        assert got.tobytes() == y.tobytes() or "algorithm" in asked[3]
    assert told.flops == 2 * (y.size if op.startswith("conv_transpose") is False else x.size) * weight[0].size
    assert told.bytes == x.nbytes + weight.nbytes + y.nbytes


@pytest.mark.parametrize(
    ("options", "why", "rejected"),
    [
        ({}, "3x3 taps", {"im2col": "it could run, but columns pay only", "direct": "it does only depthwise"}),
        ({"algorithm": "im2col"}, "asked for", {"implicit_gemm": "it could run, but im2col was asked for"}),
        ({"direction": "weight"}, "3x3 taps", {"implicit_gemm": "it could run, but it takes up to four times"}),
        ({"stride": 2}, "the engine", {"winograd": "it does only kernels of 3x3 taps along the last two axes"}),
    ],
)
def test_reasons_are_those_that_hold(options, why, rejected):
    told = convkit.explain("conv2d", (1, 16, 32, 32), (16, 16, 3, 3), padding=1, **options)
    assert told.why.startswith(why)
    for name, reason in rejected.items():
        assert told.rejected[name].startswith(reason)
        assert f"not {name}: {reason}" in str(told)


@pytest.mark.parametrize("asked", [(*asked, *told) for asked, *told in CASES])
def test_every_other_algorithm_has_a_sentence_of_its_own(asked):
    """By the rule, or since it cannot run: then with what stands in its way."""
    op, x_shape, weight_shape, options, algorithm, _ = asked
    options = {name: value for name, value in options.items() if name != "algorithm"}
    rejected = convkit.explain(op, x_shape, weight_shape, **options).rejected
    assert all(reason.startswith(("it could run, but ", "it does only ")) for reason in rejected.values())
    assert ("it does only" in rejected.get("winograd", "")) == ("; here kernel" in rejected.get("winograd", ""))


def test_nothing_to_compute():
    told = convkit.explain("conv2d", (1, 4, 0, 8), (6, 4, 1, 1), padding=1, direction="x")
    assert (told.tasks, told.flops, told.arrangement) == (0, 2 * 6 * 2 * 10 * 4, None)
    assert "tasks" not in str(told)


@pytest.mark.thorough
def test_measured(brief):
    told = convkit.explain("conv2d", (1, 8, 16, 16), (8, 8, 3, 3), measure=True)
    assert told.seconds > 0
    assert told.bound == pytest.approx(max(told.flops / told.peak_gflops, told.bytes / told.triad) / 1e9)
    assert "% of the roofline" in str(told)
    assert convkit.explain("conv2d", (1, 8, 16, 16), (8, 8, 3, 3)).seconds is None


def test_shares_above_the_roofline_and_a_peak_that_moved_are_explained():
    told = dataclasses.replace(
        convkit.explain("conv2d", (8, 64, 28, 28), (64, 64, 3, 3), padding=1), flops=2 * 10**9, peak_gflops=1.0,
        triad=1.0, bound=2.0, seconds=1.0,
    )  # fmt: skip
    assert "200 % of the roofline\n             above 100 %: Winograd's algorithm takes" in str(told)
    assert "while its peak was measured" in str(dataclasses.replace(told, algorithm="implicit_gemm"))
    assert "caches" in str(dataclasses.replace(told, peak_gflops=3.0)) and "unsteady" not in str(told)
    assert "unsteady: other work" in str(dataclasses.replace(told, unsteady=True))


SHARED = [  # x, weight, options; KiB of weights, of inputs, rounds: at least, lanes and points being padded
    (((1, 512, 33, 33), (256, 512, 3, 3), {"padding": 12, "dilation": 12}), "implicit_gemm", (4608, 0, 0)),
    (((1, 64, 112, 112), (64, 64, 3, 3), PADDED), "winograd", (576, 0, 0)),
    (((4, 512, 28, 28), (512, 512, 3, 3), PADDED), "winograd", (0, 3528, 4)),
]


@pytest.mark.parametrize(("asked", "algorithm", "least"), SHARED)
def test_what_tasks_share(asked, algorithm, least, isa):
    """Where that takes less time than that each has its own; nothing, where the workspace has no room for it."""
    x_shape, weight_shape, options = asked
    with convkit.threads(1):
        told = convkit.explain("conv2d", x_shape, weight_shape, **options)
        shared = told.shared_weights + told.shared_inputs
        with convkit.workspace_limit(shared):
            few = convkit.explain("conv2d", x_shape, weight_shape, **options)
    for got, expected in zip((told.shared_weights / 2**10, told.shared_inputs / 2**10), least, strict=False):
        assert expected <= got <= 1.1 * expected
    assert (told.algorithm, told.rounds) == (algorithm, least[2])
    assert "\nshared       laid out once for all tasks: " in str(told)
    assert (f"KiB of inputs, in {least[2]} rounds" in str(told)) == (least[2] > 0)
    assert told.workspace > shared >= few.workspace
    assert (few.shared_weights, few.shared_inputs, few.rounds) == (0, 0, 0)
    assert "shared" not in str(few)


def test_threads_and_workspace_follow_the_caller():
    shapes = ("conv2d", (8, 64, 28, 28), (64, 64, 3, 3))
    with convkit.threads(32):
        many = convkit.explain(*shapes)
        with convkit.workspace_limit("400KiB"):
            few = convkit.explain(*shapes)
        with convkit.workspace_limit(9), pytest.raises(MemoryError, match="over its limit of 9"):
            convkit.explain(*shapes)
    assert many.threads == 32
    assert few.threads < 32
    assert few.workspace <= 400 * 2**10


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("conv4d", (1, 1, 4), (1, 1, 3)), ValueError, "op must be one of conv1d, .*, got 'conv4d'"),
        (("conv2d", (1, 1, 4), (1, 1, 3)), ValueError, "weight must have shape"),
        (("conv1d", 4, (1, 1, 3)), TypeError, "x_shape must be a tuple of ints, got 4 of type int"),
        (("conv1d", (1, 1, 4), (1.0, 1, 3)), TypeError, "weight_shape must be an int, or a tuple of ints, got 1.0"),
        (("conv1d", (-1, 1, 4), (1, 1, 3)), ValueError, "x_shape as a shape must have sizes of at least 0"),
        (("conv1d", (1, 1, 4), (1, 1, 3), {"direction": "back"}), ValueError, "direction must be one of"),
        (("conv1d", (1, 1, 4), (1, 1, 3), {"dtype": "int8"}), ValueError, "dtype must be one of"),
        (("conv1d", (1, 1, 4), (1, 1, 3), {"algorithm": "winograd"}), ValueError, "algorithm must be another"),
        (("conv1d", (1, 1, 4), (1, 1, 3), {"output_padding": 1}), ValueError, "output_padding must be 0 for conv1d"),
        (("conv1d", (1, 1, 4), (1, 1, 3), {"output_size": 9}), ValueError, "output_size must be None for conv1d"),
        (("conv1d", (1, 1, 4), (1, 1, 3), {"output_size": (0,)}), ValueError, "output_size must be None for conv1d"),
        (
            ("conv_transpose1d", (1, 1, 4), (1, 1, 3), {"padding_mode": (0,)}),
            ValueError,
            r"padding_mode must be 'zeros' for conv_transpose1d, which takes none, got \(0,\)",
        ),
        (
            ("conv_transpose1d", (1, 1, 4), (1, 1, 3), {"padding_mode": "reflect"}),
            ValueError,
            "padding_mode must be 'zeros' for conv_transpose1d, which takes none, got 'reflect'",
        ),
    ],
)
def test_refusals(arguments, error, message):
    op, x_shape, weight_shape, *options = arguments
    with pytest.raises(error, match=message):
        convkit.explain(op, x_shape, weight_shape, **(options[0] if options else {}))


@pytest.mark.parametrize("none", [0, np.int64(0), (0, 0), [0, 0]])
def test_no_padding_of_the_output_is_what_a_convolution_takes(none):
    assert convkit.explain("conv2d", (1, 1, 4, 4), (1, 1, 3, 3), output_padding=none).flops


@pytest.mark.parametrize("dtype", [np.float64, np.dtype("f8"), "float64"], ids=["a type", "a dtype", "a name"])
def test_a_dtype_by_any_name(dtype):
    assert convkit.explain("conv1d", (1, 1, 4), (1, 1, 3), dtype=dtype).dtype == "float64"


def test_the_command(capsys):
    shapes = ["explain", "conv2d", "1,64,28,28", "64,64,3,3", "--padding", "1"]
    assert main(shapes) == 0
    assert "algorithm    winograd" in capsys.readouterr().out
    assert main([*shapes, "--json", "--stride", "2,1", "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["algorithm"] == "implicit_gemm"
    for refused, message in (
        (["64,3,3,3"], "x must have"),
        (["64,64,3,3", "--dilation", str(2**63 - 1)], "dilation must keep"),
        (["64,64,3,3", "--output-padding", "1"], "output_padding must be 0 for conv2d"),
    ):
        assert main([*shapes[:3], *refused]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("direction", ["forward", "x"])
def test_patches(direction):
    """Each pixel of a small image reads other taps of a large kernel; of a large image, nearly all read the same."""
    weight, options = (64, 64, 7, 7), {"padding": 3, "algorithm": "implicit_gemm", "direction": direction}
    small, large = (convkit.explain("conv2d", (16, 64, n, n), weight, **options) for n in (7, 112))
    assert (small.patches, large.patches) == (49, 1)
    assert "up to 49 of a block" in str(small)
    assert "patches" not in str(large)
