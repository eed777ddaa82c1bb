"""PyTorch's weight files, of every kind of tensor in every form; what no array can be is refused by name."""

import io
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from convkit import models, nn
from torchvision_here import torchvision

KINDS = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
]  # fmt: skip


def some_tensor(rng):
    """Of any kind and shape; a view of a larger one, as often as not."""
    shape = tuple(int(size) for size in rng.integers(0 if rng.random() < 0.1 else 1, 5, rng.integers(0, 5)))
    large = torch.randint(-100, 100, [2 * size + 1 for size in shape]).to(KINDS[rng.integers(len(KINDS))])
    tensor = large[tuple(slice(int(rng.integers(2)), None, int(rng.integers(1, 3))) for _ in shape)]
    tensor = tensor[tuple(slice(size) for size in shape)].permute(tuple(map(int, rng.permutation(len(shape)))))
    tensor = tensor if rng.random() < 0.5 else tensor.clone()
    if tensor.dtype.is_floating_point and rng.random() < 0.3:
        return torch.nn.Parameter(tensor)
    return tensor.expand(3, *tensor.shape) if rng.random() < 0.1 else tensor


def some_state(rng):
    state = OrderedDict((f"layer{i}.weight", some_tensor(rng)) for i in range(rng.integers(1, 12)))
    for name in list(state)[:: int(rng.integers(2, 5))]:
        state[f"{name}_tied"] = state[name][..., :1] if rng.random() < 0.5 and state[name].ndim else state[name]
    return state if rng.random() < 0.5 else dict(state)


def assert_same(loaded, state):
    assert list(loaded) == list(state)
    for name, tensor in state.items():
        half = tensor.dtype in (torch.float16, torch.bfloat16)
        array = (tensor.float() if half else tensor).detach().numpy()
        assert loaded[name].dtype == array.dtype and loaded[name].shape == array.shape, name
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}], ids=str)
def test_random_states(tmp_path, options):
    path = tmp_path / "weights.pt"
    for seed in range(100):
        torch.manual_seed(seed)
        state = some_state(np.random.default_rng(seed))
        torch.save(state, path, **options)
        assert_same(nn.load_state(path), state)
        torch.save({"epoch": seed, "state_dict": state, "optimizer": {"state": {0: {"step": 1.5}}}}, path, **options)
        assert_same(nn.load_state(path, "state_dict"), state)


def test_a_file_of_a_machine_with_the_highest_byte_first(tmp_path):
    """Of the kinds that have storages of their own: the others PyTorch does not swap."""
    torch.manual_seed(0)
    state = {str(kind): torch.randn(3, 4).to(kind) for kind in KINDS if kind not in KINDS[6:9]}
    file = io.BytesIO()
    torch.save(state, file)
    with zipfile.ZipFile(file) as little, zipfile.ZipFile(tmp_path / "big.pt", "w") as big:
        for name in little.namelist():
            big.writestr(name, b"big" if name.endswith("byteorder") else little.read(name))
    assert_same(nn.load_state(tmp_path / "big.pt"), torch.load(tmp_path / "big.pt", weights_only=True))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_names_of_torchvisions_models_are_ours(tmp_path, name, zipped):
    torch.manual_seed(0)
    theirs, ours = getattr(torchvision.models, name)(num_classes=10).eval(), getattr(models, name)(10, init="zeros")
    torch.save(theirs.state_dict(), tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
    assert ours.load_state_dict(nn.load_state(tmp_path / "weights.pth")) == ([], [])
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(x).numpy()
    np.testing.assert_allclose(ours.eval()(x.numpy()), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


REFUSED = {
    "a whole model": (torch.nn.Linear(2, 2), "asks for 'torch.nn.modules.linear.Linear'"),
    "sparse": ({"w": torch.eye(3).to_sparse()}, "asks for 'torch._utils._rebuild_sparse_tensor'"),
    "float8": ({"w": torch.ones(3).to(torch.float8_e4m3fn)}, "asks for 'torch.float8_e4m3fn'"),
    "conjugated": ({"w": torch.ones(3, dtype=torch.complex64).conj()}, "conjugated or negated"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_array_can_be(tmp_path, what):
    value, message = REFUSED[what]
    torch.save(value, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=message):
        nn.load_state(tmp_path / "weights.pt")
