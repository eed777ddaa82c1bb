"""What is sent to another process, copied or mapped into memory comes back whole, and works."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest

import sendable
import small_training
from cases import in_turns
from convkit import nn, optim
from nn_cases import ALONE, TWINS, first, with_numbers
from sendable import EXAMPLES, LAYERS, Example
from training_cases import LOSSES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`sendable.image_folder`, the one example that needs files."""
    images = sendable.image_folder(tmp_path_factory.mktemp("images"))
    return Example("image_folder", lambda: images, lambda sent: (sent[::2], sent.subset([1, 3])[:], sent.classes))


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def pickled_beside(value):
    """As Dask, Ray and multiprocessing with shared memory do: arrays lie outside the pickle, and come read-only."""
    beside = []
    text = pickle.dumps(value, protocol=5, buffer_callback=beside.append)
    return pickle.loads(text, buffers=[bytes(buffer.raw()) for buffer in beside])


WAYS = (pickled, pickled_beside, copy.deepcopy)


def check_all_ways(example):
    value = example.make()
    sent = {way.__name__: way(value) for way in WAYS}
    expected = _plain(example.use(value))
    for way, copied in sent.items():
        np.testing.assert_equal(_plain(example.use(copied)), expected, err_msg=way)


def _plain(value):
    """Dataclasses and Parameters are not equal to their copies; what they hold is."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


@in_turns("example", LAYERS, 0)
def test_a_layer_survives_and_works(example):
    check_all_ways(example)


@pytest.mark.parametrize("example", EXAMPLES[len(LAYERS) :], ids=lambda example: example.name)
def test_it_survives_and_works(example):
    check_all_ways(example)


def test_a_folder_of_images_survives_and_works(folder):
    check_all_ways(folder)


@pytest.mark.parametrize("way", WAYS)
def test_a_backward_that_is_due_stays_with_the_model(way):
    model, x = nn.Linear(3, 2, rng=0), np.ones((1, 3), np.float32)
    model(x)
    sent = way(model)
    with pytest.raises(RuntimeError, match="Linear.backward: nothing to go back through"):
        sent.backward(np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(sent(x), model.predict(x))
    assert model.backward(np.ones((1, 2), np.float32)).shape == x.shape


def test_every_public_class_has_an_example(folder):
    seen = set()
    for example in (*EXAMPLES, folder):
        _collect(example.make(), seen)
    public = [getattr(module, name) for module in sendable.MODULES for name in _names(module)]
    classes = {value for value in public if isinstance(value, type) and value.__module__.startswith("convkit")}
    assert classes - sendable.ABSTRACT - sendable.ROWS <= seen


def _names(module):
    return getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]


def _collect(value, seen):
    """The classes of an object and of all that it holds."""
    seen.add(type(value))
    inside = (
        list(vars(value).values())
        if type(value).__module__.startswith("convkit") and hasattr(value, "__dict__")
        else []
    )
    if isinstance(value, list | tuple):
        inside += value
    for item in inside:
        _collect(item, seen)


def test_functions_are_sent_by_name():
    for module in sendable.MODULES:
        for name in _names(module):
            value = getattr(module, name)
            if callable(value) and getattr(value, "__module__", "").startswith("convkit"):
                assert pickled(value) is value, name


# ---------------------------------------------------------------- arrays that come from elsewhere


def swapped(array):
    """The array as a machine of the other byte order wrote it."""
    return array.astype(array.dtype.newbyteorder("S"))


def mapped(folder, array):
    """The array, read-only in a file of its own."""
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


OF_LAYERS = [*ALONE, *(pytest.param(case, marks=pytest.mark.thorough) for case in TWINS)]


@pytest.mark.parametrize("case", OF_LAYERS, ids=lambda case: case.name)
def test_weights_mapped_from_a_file_and_operands_of_foreign_byte_order(case, tmp_path):
    rng = np.random.default_rng(3)
    layer = with_numbers(case.build(nn), rng).eval()
    operands = [rng.standard_normal(case.shape), *case.more(rng)]
    operands = [array if array.dtype == np.int64 else array.astype(np.float64) for array in operands]
    y = layer(*operands)
    expected = [y, first(layer.backward(np.cos(y))), *(parameter.grad for parameter in layer.parameters())]
    for parameter in layer.parameters():
        parameter.data, parameter.grad = mapped(tmp_path, parameter.data), None
    operands, grad = [swapped(array) for array in operands], swapped(np.cos(y))
    got = [layer(*operands), first(layer.backward(grad))]
    assert {type(array) for array in got} == {np.ndarray}
    got += [parameter.grad for parameter in layer.parameters()]
    np.testing.assert_equal(got, expected)


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)
def test_losses_of_scores_of_foreign_byte_order(case):
    drawn = case.draw(np.random.default_rng(2))
    weights = {"class_weights": drawn["weights"]} if case.weighted else {}
    loss = getattr(nn.losses, case.loss)
    expected = loss(drawn["x"], drawn["t"], **case.options, **weights)
    got = loss(swapped(drawn["x"]), swapped(drawn["t"]), **case.options, **weights)
    assert got.grad.dtype.isnative
    np.testing.assert_equal(got, expected)


def test_states_mapped_from_files_and_of_foreign_byte_order(tmp_path):
    """What loads them copies them, and trains on."""
    optimizer = sendable.optimizer(optim.Adam)
    model, began = small_training.network(np.random.default_rng(0)), optimizer.make()
    for change in (swapped, partial(mapped, tmp_path)):
        fresh, again = small_training.network(np.random.default_rng(1)), optimizer.make()
        fresh.load_state_dict({name: change(array) for name, array in model.state_dict().items()})
        again.load_state_dict({name: change(array) for name, array in began.state_dict().items()})
        for name, array in fresh.state_dict().items():
            np.testing.assert_array_equal(array, model.state_dict()[name])
        np.testing.assert_equal(optimizer.use(again), optimizer.use(copy.deepcopy(began)))
    parameter = nn.Parameter(swapped(np.arange(3.0)))
    assert parameter.dtype.isnative and parameter.data.tolist() == [0, 1, 2]


# ---------------------------------------------------------------- what cannot be written to


def test_a_parameter_that_is_read_only_does_not_learn_and_nothing_has_changed(tmp_path):
    first, last = nn.Parameter(np.ones(2)), nn.Parameter(mapped(tmp_path, np.ones(3)))
    optimizer = optim.Adam([first, last])
    for parameter in (first, last):
        parameter.grad = np.ones(parameter.shape)
    with pytest.raises(ValueError, match="a parameter must be writable to learn, got a read-only array"):
        optimizer.step()
    assert first.data.tolist() == [1, 1] and optimizer.state == [{}, {}]
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Linear(3, 2, rng=1))
    before, model[1].bias = model[0].weight.data.copy(), last
    with pytest.raises(ValueError, match="'1.bias': expected an array to write to, got a read-only one in the model"):
        model.load_state_dict({name: array + 1 for name, array in model.state_dict().items()})
    np.testing.assert_array_equal(model[0].weight.data, before)


def test_memory_that_an_optimizer_cannot_write_to_is_refused():
    """It is written to from C, where no flag protects it."""
    parameter = nn.Parameter(np.ones(4))
    optimizer = optim.SGD([parameter], 0.1, 0.9)
    parameter.grad = np.ones(4)
    optimizer.step()
    misaligned = np.zeros(33, np.uint8)[1:].view(np.float64)
    for bad in (np.broadcast_to(0.0, 4), np.zeros(8)[::2], misaligned):
        optimizer.state[0]["velocity"] = bad
        with pytest.raises(ValueError, match="velocity must be contiguous, aligned and writable, got an array that is"):
            optimizer.step()
    np.testing.assert_allclose(parameter.data, 0.9)


def test_parameters_of_another_dtype_are_refused():
    """Set past what assigning checks, they would be read as float64 by their size in bytes."""
    parameter = nn.Parameter(np.ones(4))
    optimizer = optim.SGD([parameter], 0.1)
    for dtype in ("float16", ">f8", "int64"):
        vars(parameter)["data"], parameter.grad = np.ones(4, dtype), np.ones(4)
        with pytest.raises(TypeError, match="a parameter must be float32 or float64 in native byte order, got"):
            optimizer.step()


@pytest.mark.parametrize("name", ["running_mean", "running_var", "num_batches_tracked"])
def test_running_statistics_that_are_read_only(name):
    layer, x = nn.BatchNorm1d(2), np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    getattr(layer, name).data.flags.writeable = False
    with pytest.raises(ValueError, match=f"{name} must be writable in training, got a read-only array"):
        layer(x)
    assert layer.num_batches_tracked.data == 0 and (layer.running_mean.data == 0).all()
    assert layer.eval()(x).shape == x.shape
