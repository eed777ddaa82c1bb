"""Writes activations.npz: what activations are at numbers of all sizes, rounded from 200 bits to two float64 each.

    python tests/vectors/make_activation_vectors.py

needs mpmath; the test that reads the file does not. x holds the arguments; NAME/0 is the value and NAME/1 what is left
of it.
"""

from pathlib import Path

import mpmath as mp
import numpy as np

HERE = Path(__file__).parent
VALUES = {
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "tanh": mp.tanh,
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "gelu_tanh": lambda x: x / (1 + mp.exp(-2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))),
}


def arguments() -> np.ndarray:
    """Both signs, from the smallest number on; most where the functions bend and where they leave the normal range."""
    rng = np.random.default_rng(20261126)
    size = np.concatenate([
        2.0 ** rng.uniform(-1074, -60, 20), 2.0 ** rng.uniform(-60, -3, 60), rng.uniform(0, 10, 240),
        rng.uniform(10, 45, 80), rng.uniform(45, 120, 40), rng.uniform(700, 760, 40), [5e-324, 2.0**-1022, 1e4],
    ])  # fmt: skip
    return np.concatenate([size, -size])


def main() -> None:
    mp.mp.prec = 200
    x = arguments()
    arrays = {"x": x}
    for name, function in VALUES.items():
        values = [function(mp.mpf(float(v))) for v in x]
        first = np.array([float(v) for v in values])
        arrays[f"{name}/0"] = first
        arrays[f"{name}/1"] = np.array([float(v - mp.mpf(float(f))) for v, f in zip(values, first, strict=True)])
    np.savez_compressed(HERE / "activations.npz", **arrays)


if __name__ == "__main__":
    main()
