"""600 random convolutions and 300 transposed ones, forward and every gradient, none outside the derived bound.

A failure is named by its number: `python -m pytest "tests/test_conv_random.py::test_block[300-324]"` runs the 25
that it lies in, and `check(307)` that one alone. The number decides the sizes, the data, the layout, the dtype, the
algorithm, the number of threads and, among those that the machine has, the instruction set.
"""

from collections import Counter
from functools import partial

import convkit
from cases import DTYPES, LAYOUTS, THOROUGH, assert_all, assert_case, blocks, random_data, solve
from problems import MODES, random_problem, random_transposed

COUNT, PER_BLOCK = 600, 25
ALGORITHMS = ("auto", "implicit_gemm", "im2col")
ACTIVATIONS = (None, None, None, "relu", ("leaky_relu", 0.25), "sigmoid", "tanh", ("clip", -1.0, 0.5))


def choices(index: int) -> tuple[str, str, str]:
    """(dtype, layout, algorithm) of configuration `index`; every combination in turn."""
    index, dtype = divmod(index, len(DTYPES))
    index, layout = divmod(index, len(LAYOUTS))
    return DTYPES[dtype], LAYOUTS[layout], ALGORITHMS[index % len(ALGORITHMS)]


def check(index: int, random=random_problem) -> None:
    """Run configuration `index` on its instruction set and compare everything with the reference."""
    dtype, layout, algorithm = choices(index)
    problem = random(index).but(activation=ACTIVATIONS[index // 12 % len(ACTIVATIONS)])
    isas = convkit.available_isas()
    convkit.set_isa(isas[(index // 12) % len(isas)])
    with convkit.threads(1 + index % 3):
        assert_case(solve(random_data(problem, dtype)), layout, algorithm=algorithm)


@blocks(COUNT, PER_BLOCK)
def test_block(block, any_isa):
    assert_all(check, block)


@blocks(COUNT // 2, PER_BLOCK)
def test_block_of_transposed_ones(block, any_isa):
    assert_all(partial(check, random=random_transposed), block)


@THOROUGH
def test_the_blocks_cover_what_they_promise():
    """Every value of every choice occurs often among them: a generator that lost one would prove nothing."""
    seen = Counter()
    for index in range(COUNT):
        problem = random_problem(index)
        for axis in range(problem.nd):
            seen.update([("stride", problem.stride[axis]), ("dilation", problem.dilation[axis])])
            seen.update([("kernel", problem.kernel[axis]), ("asymmetric", len(set(problem.padding[axis])) == 2)])
        seen.update([problem.padding_mode, ("nd", problem.nd), ("grouped", problem.groups > 1), choices(index)])
    expected = [("stride", n) for n in range(1, 5)] + [("dilation", n) for n in range(1, 5)]
    expected += [("kernel", n) for n in range(1, 8)] + [("nd", n) for n in range(1, 4)]
    expected += [("asymmetric", True), ("grouped", True), *MODES]
    expected += [(d, layout, a) for d in DTYPES for layout in LAYOUTS for a in ALGORITHMS]
    assert min(seen[key] for key in expected) >= 30, seen


@THOROUGH
def test_the_blocks_of_transposed_ones_cover_what_they_promise():
    seen = Counter()
    for index in range(COUNT // 2):
        problem = random_transposed(index)
        seen.update([("nd", problem.nd), ("grouped", problem.groups > 1), ("named", isinstance(problem.padding, str))])
        seen.update([("sized", problem.output_size is not None)])
        axes = (problem.pads, problem.reach, problem.out, problem.stride, problem.dilation, problem.kernel)
        for (lo, hi), reach, out, step, gap, taps in zip(*axes, strict=True):
            seen.update([("lengthened", lo + out > reach), ("asymmetric", lo != hi), ("cropped", lo + out < reach)])
            seen.update([("holes", gap * (taps - 1) + 1 < step), ("gap over stride", gap > step)])
            seen.update([("stride", step), ("dilation", gap), ("kernel", taps)])
    expected = [("nd", n) for n in (1, 2, 3)] + [("stride", n) for n in range(1, 5)]
    expected += [("dilation", n) for n in range(1, 5)] + [("kernel", n) for n in range(1, 8)]
    names = ("grouped", "named", "sized", "lengthened", "asymmetric", "cropped", "holes", "gap over stride")
    expected += [(name, True) for name in names]
    assert min(seen[key] for key in expected) >= 30, seen
