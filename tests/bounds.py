"""The one assertion on rounding: every element within the bound that `convkit.reference.bound` derives, none tuned."""

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
