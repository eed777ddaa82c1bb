"""Assertions on results: elements are within the bound that `convkit.reference.bound` derives, gradients are slopes."""

import numpy as np


def assert_within_bound(got, expected, bound, what: str = "") -> None:
    """Fail unless every element of `got` is within `bound` of `expected`; the message names the worst one."""
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    error = np.abs(got.astype(np.float64) - expected)
    outside = ~(error <= bound)  # a NaN is outside
    if not outside.any():
        return
    share = np.where(outside, error / np.maximum(bound, np.finfo(np.float64).tiny), 0.0)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(share), np.inf, share)), got.shape)
    raise AssertionError(
        f"{what}: {outside.sum()} of {got.size} elements outside the bound; the worst, {tuple(int(i) for i in worst)}: "
        f"got {got[worst]!r}, expected {expected[worst]!r}, {share[worst]:.3g} times the bound"
    )


def assert_slopes(gradient, loss, values, rng, most: int, what: str = "") -> None:
    """Some elements of a float64 gradient are (loss() - loss()) / 2h, of `values` with one moved by h and by -h."""
    step, allowed = 1e-6, 1e-5 * max(1, np.abs(gradient).max())
    for index in rng.choice(values.size, min(values.size, most), replace=False):
        kept, losses = values.flat[index], []
        for moved in (kept + step, kept - step):
            values.flat[index] = moved
            losses.append(loss())
        values.flat[index] = kept
        slope = (losses[0] - losses[1]) / (2 * step)
        assert abs(gradient.flat[index] - slope) <= allowed, f"{what}[{index}]"
