"""Writes nn.npz: every layer that PyTorch or torchvision has, forward and backward, as they compute it in float64.

    PYTHONPATH=tests python tests/vectors/make_nn_vectors.py

needs both; the tests that read the file do not. The cases are those of tests/nn_cases.py, the arrays of a case NAME
those of `torch_layers.answers`, stored as NAME/array. Operands are stored in float32, which they are rounded to.
"""

from pathlib import Path

import numpy as np

from nn_cases import TWINS
from torch_layers import answers

HERE = Path(__file__).parent


def main() -> None:
    rng = np.random.default_rng(20261121)
    arrays = {}
    for case in TWINS:
        for name, array in answers(case, rng).items():
            exact = name.startswith("before.") and array.dtype == np.float64
            arrays[f"{case.name}/{name}"] = array.astype(np.float32) if exact else array
    np.savez_compressed(HERE / "nn.npz", **arrays)


if __name__ == "__main__":
    main()
