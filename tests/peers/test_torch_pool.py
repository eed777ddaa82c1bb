"""Pooling beside a live PyTorch: the same values and indices for maxima, the same averages and gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

import convkit
from cases import DTYPES, LAYOUTS, arrange, restore
from pool_problems import POOLS, Pool, random_pool


def allowed(problem: Pool) -> bool:
    """Whether PyTorch takes it too: paddings alike on both sides and at most half the kernel."""
    if problem.adaptive:
        return True
    if isinstance(problem.padding, str):
        return False
    each = problem.padding if isinstance(problem.padding, tuple) else (problem.padding,) * problem.nd
    kernel = problem.kernel if isinstance(problem.kernel, tuple) else (problem.kernel,) * problem.nd
    return all(
        (pad[0] if isinstance(pad, tuple) else pad) <= k // 2 and (not isinstance(pad, tuple) or pad[0] == pad[1])
        for pad, k in zip(each, kernel, strict=True)
    )


def symmetric(problem: Pool) -> Pool:
    """A random problem with its padding made one that PyTorch takes."""
    if problem.adaptive:
        return problem
    pads = tuple(min(lo, k // 2) for (lo, _), k in zip(problem.padding, problem.kernel, strict=True))
    spans = (d * (k - 1) + 1 for k, d in zip(problem.kernel, problem.dilation, strict=True))
    spatial = tuple(max(size, span) for size, span in zip(problem.spatial, spans, strict=True))
    return Pool(problem.name, problem.n, problem.channels, spatial, problem.kernel, problem.stride, pads,
                problem.dilation, problem.ceil_mode)  # fmt: skip


PROBLEMS = [p for p in POOLS if allowed(p)] + [symmetric(random_pool(index)) for index in range(300)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_max(problem, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, problem.x_shape).astype(dtype)
    x[rng.random(x.shape) < 0.02] = np.nan
    name = problem.operator("max")
    variable = torch.tensor(x, requires_grad=True)
    y, indices = getattr(functional, name)(variable, **problem.arguments, return_indices=True)
    grad = rng.integers(-4, 5, tuple(y.shape)).astype(dtype)
    (dx,) = torch.autograd.grad(y, variable, torch.tensor(grad))
    for layout in LAYOUTS:
        got = getattr(convkit, name)(arrange(x, layout), **problem.arguments, return_indices=True, layout=layout)
        np.testing.assert_array_equal(restore(got[0], layout), y.detach().numpy())
        np.testing.assert_array_equal(restore(got[1], layout), indices.numpy())
        shape = arrange(x, layout).shape
        back = getattr(convkit, name + "_backward")(arrange(grad, layout), got[1], shape, layout=layout)
        np.testing.assert_array_equal(restore(back, layout), dx.numpy())


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.adaptive or set(np.ravel(p.dilation)) == {1}],
                         ids=lambda p: p.name)  # fmt: skip
def test_average(problem):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(problem.x_shape)
    name, arguments = problem.operator("avg"), dict(problem.arguments)
    arguments.pop("dilation", None)
    for count in (None,) if problem.adaptive else (True, False):
        options = arguments if count is None else arguments | {"count_include_pad": count}
        variable = torch.tensor(x, requires_grad=True)
        y = getattr(functional, name)(variable, **options)
        grad = rng.standard_normal(tuple(y.shape))
        (dx,) = torch.autograd.grad(y, variable, torch.tensor(grad))
        for layout in LAYOUTS:
            got = getattr(convkit, name)(arrange(x, layout), **options, layout=layout)
            np.testing.assert_allclose(restore(got, layout), y.detach().numpy(), 1e-12, 1e-13)
            options_back = {} if count is None else options
            shape = arrange(x, layout).shape
            back = getattr(convkit, name + "_backward")(arrange(grad, layout), shape, **options_back, layout=layout)
            np.testing.assert_allclose(restore(back, layout), dx.numpy(), 1e-12, 1e-13)


@pytest.mark.parametrize("nd", (1, 2, 3))
def test_unpool(nd):
    x = torch.randn(2, 5, *(8,) * nd, dtype=torch.float64)
    y, indices = getattr(functional, f"max_pool{nd}d")(x, 2, return_indices=True)
    variable = y.clone().requires_grad_()
    for size in (None, (9,) * nd):
        expected = getattr(functional, f"max_unpool{nd}d")(variable, indices, 2, output_size=size)
        got = getattr(convkit, f"max_unpool{nd}d")(y.numpy(), indices.numpy(), 2, output_size=size)
        np.testing.assert_array_equal(got, expected.detach().numpy())
        grad = torch.randn(expected.shape, dtype=torch.float64)
        (dx,) = torch.autograd.grad(expected, variable, grad)
        back = getattr(convkit, f"max_unpool{nd}d_backward")(grad.numpy(), indices.numpy())
        np.testing.assert_array_equal(back, dx.numpy())
