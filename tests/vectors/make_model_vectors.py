"""Writes models.npz: what torchvision's networks are made of, and what they answer.

    PYTHONPATH=tests python tests/vectors/make_model_vectors.py

needs PyTorch and torchvision; the tests that read the file do not. Weights come from `state_recipe.filled`, images from
`default_rng(SEED)`, both float32; PyTorch computes in float64. Stored are, for each network, NAME/state, a line "name
shape" for each array of its state_dict, and NAME/y, its scores in evaluation for CLASSES classes. For ResNet-18 also
what one pass of training does: resnet18/train/y, the gradients resnet18/grad/... of the sum of y * GRAD for a few
parameters, and the moved batch statistics, resnet18/moved/...
"""

from pathlib import Path

import numpy as np
import torch

from state_recipe import filled
from torchvision_here import torchvision

HERE = Path(__file__).parent

SEED, CLASSES, IMAGES = 20261121, 10, (4, 3, 64, 64)
NAMES = ("alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v2")
ANSWERED = ("resnet18", "resnet50", "mobilenet_v2")  # the others have weights by the hundred megabytes
GRADIENTS = ("conv1.weight", "bn1.weight", "layer2.0.downsample.1.bias", "layer4.1.bn2.weight", "fc.bias")


def described(model: torch.nn.Module) -> np.ndarray:
    """A line for each array of the state."""
    return np.array([f"{name} {tuple(array.shape)}" for name, array in model.state_dict().items()])


def with_weights(name: str) -> torch.nn.Module:
    """torchvision's network with the recipe's weights, in float64."""
    model = getattr(torchvision.models, name)(num_classes=CLASSES)
    shapes = {key: tuple(array.shape) for key, array in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(array) for key, array in filled(shapes, SEED).items()})
    return model.double()


def trained(model: torch.nn.Module, x: torch.Tensor, grad: torch.Tensor) -> dict[str, np.ndarray]:
    """One pass of training, forward and backward."""
    y = model.train()(x)
    y.backward(grad)
    parameters, state = dict(model.named_parameters()), model.state_dict()
    moved = [key for key in state if "running" in key and ("bn1" in key or "downsample" in key)]
    return (
        {"train/y": y.detach().numpy()}
        | {f"grad/{key}": parameters[key].grad.numpy() for key in GRADIENTS}
        | {f"moved/{key}": state[key].numpy() for key in moved}
    )


def main() -> None:
    rng = np.random.default_rng(SEED)
    x = torch.from_numpy(rng.standard_normal(IMAGES, np.float32)).double()
    grad = torch.from_numpy(rng.standard_normal((IMAGES[0], CLASSES), np.float32)).double()
    arrays = {}
    for name in NAMES:
        with torch.device("meta"):
            arrays[f"{name}/state"] = described(getattr(torchvision.models, name)())
    for name in ANSWERED:
        model = with_weights(name)
        with torch.no_grad():
            arrays[f"{name}/y"] = model.eval()(x).numpy()
        if name == "resnet18":
            arrays |= {f"{name}/{key}": array for key, array in trained(model, x, grad).items()}
    np.savez_compressed(HERE / "models.npz", **arrays)


if __name__ == "__main__":
    main()
