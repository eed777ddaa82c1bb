"""A model of `convkit.nn` as PyTorch's modules, with its weights: what a user of PyTorch would write, run eagerly."""

import inspect
from typing import Any

import numpy as np

from convkit import nn
from convkit._extras import need

_OWN = (
    "in_channels", "out_channels", "in_features", "out_features", "num_features", "kernel_size", "stride", "padding",
    "dilation", "groups", "output_size", "p",
)  # fmt: skip


def twin(model: nn.Module) -> Any:
    """The module that does what the model does; activations and sums in place, as torchvision has them."""
    layers = need("torch", "bench").nn
    if isinstance(model, nn.Residual):
        return _residual(model)
    if isinstance(model, nn.Sequential):
        return layers.Sequential(*map(twin, model))
    made = getattr(layers, type(model).__name__)
    taken = inspect.signature(made).parameters
    options = {name: getattr(model, name) for name in _OWN if name in taken and hasattr(model, name)}
    if isinstance(model, nn.Conv2d | nn.Linear):
        options["bias"] = model.bias is not None
    if isinstance(model, nn.ReLU | nn.ReLU6):
        options["inplace"] = True
    made = made(**options)
    torch = need("torch", "bench")
    made.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in model.state_dict().items()})
    return made


def _residual(model: nn.Residual) -> Any:
    class Residual(need("torch", "bench").nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = twin(model.branch)
            self.shortcut = None if model.shortcut is None else twin(model.shortcut)
            self.relu = twin(model.relu) if hasattr(model, "relu") else None

        def forward(self, x: Any) -> Any:
            y = self.branch(x)
            y += x if self.shortcut is None else self.shortcut(x)
            return y if self.relu is None else self.relu(y)

    return Residual()
