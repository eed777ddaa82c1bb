"""Writes conv.npz and resample.npz: small calls and their gradients as PyTorch computes them in float64.

    PYTHONPATH=tests python tests/vectors/make_vectors.py

needs PyTorch; the tests that read the file do not. Operands are normal deviates rounded to float32, so both dtypes
start from the same numbers. Each case NAME is stored as NAME/x, NAME/weight, NAME/bias, NAME/grad (operands), NAME/y,
NAME/dx, NAME/dw, NAME/db (answers) and NAME/arguments, the keyword arguments as JSON. Resampling's are problems of
tests/resample_problems.py: NAME/x, NAME/grid, NAME/grad and NAME/y, NAME/dx, NAME/dgrid.
"""

import json
from pathlib import Path

import numpy as np

from problems import Problem, named
from resample_problems import GRIDS, RESIZES, Grid
from torch_oracle import conv_answers, grid_answers, resize_answers

HERE = Path(__file__).parent

NAMED = named(
    "single_pixel_3x3", "one_row", "even_kernel", "even_kernel_lower", "same_upper_s3", "full", "valid",
    "stride_over_kernel", "stride_over_image", "1x1_padded_s3", "kernel_over_image", "dilation_past",
    "dilated_strided", "asymmetric", "asymmetric_s2", "right_padding", "small_images_s2",
    "depthwise_asym", "1d", "1d_s4_d3", "1d_grouped", "3d_mixed", "reflect", "reflect_max",
    "replicate", "replicate_far", "circular", "circular_max", "reflect_1d", "circular_3d", "reflect_depthwise",
)  # fmt: skip
CASES = (
    *(problem.but(n=1) for problem in NAMED),
    Problem("no_padding", 2, 3, (6, 7), 4, (3, 3)),
    Problem("groups", 2, 4, (5, 4), 6, (3, 3), 1, 1, 1, 2),
    Problem("multiplier", 2, 3, (5, 4), 6, (3, 3), 1, 1, 1, 3),
    Problem("volume", 1, 2, (3, 4, 5), 3, (3, 3, 3), 1, 1),
    Problem("relu", 2, 3, (6, 5), 4, (3, 3), 1, 1, activation="relu"),
    Problem("leaky_relu", 2, 3, (6, 5), 4, (3, 3), 1, 1, activation=("leaky_relu", 0.125)),
    Problem("sigmoid", 2, 3, (6, 5), 4, (3, 3), 1, 1, activation="sigmoid"),
    Problem("tanh", 2, 3, (6, 5), 4, (3, 3), 1, 1, activation="tanh"),
    Problem("clip", 2, 3, (6, 5), 4, (3, 3), 1, 1, activation=("clip", -0.75, 1.5)),
)


def vectors(problem: Problem, rng: np.random.Generator) -> dict:
    """The arrays of one case by name."""

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    operands = {"x": draw(*problem.x_shape), "weight": draw(*problem.weight_shape)}
    operands |= {"bias": draw(problem.c_out), "grad": draw(*problem.y_shape)}
    answers = conv_answers(problem, **operands)
    named_answers = {"y": answers["y"], "dx": answers["x"], "dw": answers["weight"], "db": answers["bias"]}
    arguments = json.dumps(problem.arguments | {"activation": problem.activation})
    return operands | named_answers | {"arguments": np.array(arguments)}


MOST_ELEMENTS = 1000  # of x and y of a problem of resampling that is stored


def resample_vectors() -> dict:
    """The arrays of all its small problems by name."""
    arrays = {}
    for problem in (*RESIZES, *GRIDS):
        operands = problem.operands("float32")
        if operands["x"].size + operands["grad"].size > MOST_ELEMENTS:
            continue
        answers = (grid_answers if isinstance(problem, Grid) else resize_answers)(problem, **operands)
        named_answers = {name if name == "y" else f"d{name}": array for name, array in answers.items()}
        arrays |= {f"{problem.name}/{key}": array for key, array in (operands | named_answers).items()}
    return arrays


def main() -> None:
    rng = np.random.default_rng(20261120)
    arrays = {f"{case.name}/{key}": array for case in CASES for key, array in vectors(case, rng).items()}
    np.savez_compressed(HERE / "conv.npz", **arrays)
    np.savez_compressed(HERE / "resample.npz", **resample_vectors())


if __name__ == "__main__":
    main()
