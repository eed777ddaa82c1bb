"""What the scripts here need of PyTorch, imported when it is asked for, and of images in two layouts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from convkit._extras import need


def installed(threads: int) -> Any:
    """PyTorch, on so many threads."""
    torch = need("torch", "bench")
    torch.set_num_threads(threads)
    return torch


def image(shape: tuple[int, ...], layout: str) -> np.ndarray:
    """Numbers from N(0, 1); `shape` has the channels first, the array where the layout has them."""
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "NHWC" else x


def tensor(array: np.ndarray, layout: str) -> Any:
    """The array as a tensor with its channels first, without moving anything in memory."""
    found = need("torch", "bench").from_numpy(array)
    return found.movedim(-1, 1) if layout == "NHWC" else found


def images(layout: str) -> Callable[[Any], dict[str, np.ndarray]]:
    """Reads an image of either library, channels first."""

    def read(result: Any) -> dict[str, np.ndarray]:
        if isinstance(result, np.ndarray):
            return {"y": np.moveaxis(result, -1, 1) if layout == "NHWC" else result}
        return {"y": result.numpy()}

    return read


def forward_and_backward(operator: Callable, x: np.ndarray, layout: str) -> tuple[dict, dict]:
    """PyTorch's call of an operator of one image, and of its gradient where the output is the output's gradient."""
    torch = need("torch", "bench")
    given = tensor(x, layout)
    watched = given.detach().requires_grad_()
    y = operator(watched)
    grad = y.detach().clone()

    def forward():
        with torch.inference_mode():
            return operator(given)

    return {"torch": forward}, {"torch": lambda: torch.autograd.grad(y, watched, grad, retain_graph=True)[0]}
