"""What holds of convkit on Dask arrays beside the values: nothing is loaded, little is held, and what is refused."""

import errno
import importlib
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from dask.callbacks import Callback

import convkit
import missing
from lazy import not_computed

RNG = np.random.default_rng(11)
X = RNG.standard_normal((2, 6, 40, 30)).astype(np.float32)
WEIGHT = RNG.standard_normal((8, 6, 3, 3)).astype(np.float32)
DEPTHWISE = RNG.standard_normal((6, 1, 5, 3)).astype(np.float32)
CHUNKS = (1, 6, 11, 8)


@pytest.fixture(autouse=True)
def threaded():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def test_nothing_is_computed_before_the_result_is():
    """Every operator, its gradients, and what it makes of 4 TB."""
    shape, chunks = (1, 6, 10**6, 10**6 // 6), (1, 6, 3 * 10**5, 10**5)
    x = not_computed(shape, chunks)
    y = convkit.dask.conv2d(x, WEIGHT, stride=(2, 3), padding="same", padding_mode="reflect", activation="relu")
    convkit.dask.conv2d_backward(
        y, x, WEIGHT, stride=(2, 3), padding="same", padding_mode="reflect", activation="relu", y=y
    )
    up = convkit.dask.conv_transpose2d(x, WEIGHT.transpose(1, 0, 2, 3), stride=2)
    convkit.dask.conv_transpose2d_backward(up, x, WEIGHT.transpose(1, 0, 2, 3), stride=2)
    pooled, indices = convkit.dask.max_pool2d(x, 3, 2, return_indices=True)
    convkit.dask.max_pool2d_backward(pooled, indices, shape, 3, 2)
    convkit.dask.avg_pool2d_backward(convkit.dask.avg_pool2d(x, 2), shape, 2)
    convkit.dask.interpolate_backward(
        convkit.dask.interpolate(x, scale_factor=1.5, mode="bicubic"), shape, 1.5, "bicubic"
    )
    with pytest.raises(AssertionError, match="computed"):
        y.compute()


def test_a_plan_is_small():
    """A task for each block, and one for each part of a neighbour that it reads: eight in two dimensions."""
    x = not_computed((1, 6, 2000, 2000), (1, 6, 200, 200))
    y = convkit.dask.conv2d(x, WEIGHT, padding=1)
    assert y.numblocks == (1, 1, 10, 10)
    assert len(y.dask) - len(x.dask) <= 9 * 100 + 2
    assert len(y.dask.layers) - len(x.dask.layers) <= 2
    assert len(pickle.dumps(y.dask)) - len(pickle.dumps(x.dask)) < 400_000
    assert len(convkit.dask.conv2d(not_computed((900, 6, 32, 32), (9, 6, 32, 32)), WEIGHT).dask) <= 100 + 100 + 2


class _Largest(Callback):
    def __init__(self):
        self.bytes = 0

    def _posttask(self, key, result, dsk, state, worker_id):
        self.bytes = max(self.bytes, getattr(result, "nbytes", 0))


@pytest.mark.thorough
def test_a_task_holds_no_more_than_blocks():
    x = da.ones((1, 6, 400, 400), dtype=np.float32, chunks=(1, 6, 50, 50))
    block = 6 * 50 * 50 * 4
    for result, most in (
        (convkit.dask.conv2d(x, WEIGHT, padding=1), 8 / 6),
        (convkit.dask.conv2d(x, WEIGHT, padding=7, dilation=7, padding_mode="circular"), 1.6),
        (convkit.dask.conv2d_backward(x[:, :1].repeat(8, 1).rechunk({1: -1}), x, WEIGHT, padding=1).weight, 8 / 6),
        (convkit.dask.max_pool2d(x, 3, 2), 1),
        (convkit.dask.interpolate(x, scale_factor=0.5, mode="bilinear"), 1),
    ):
        with _Largest() as largest:
            result.sum().compute(scheduler="sync")
        assert largest.bytes <= most * block


@pytest.mark.thorough
def test_the_same_bits_in_every_run_and_for_every_number_of_workers():
    grad = RNG.standard_normal((2, 8, 40, 30)).astype(np.float32)
    got = []
    for workers in (1, 3, 3):
        grads = convkit.dask.conv2d_backward(
            da.from_array(grad, (1, 8, 9, 30)), da.from_array(X, CHUNKS), da.from_array(WEIGHT), padding=1
        )
        with dask.config.set(num_workers=workers):
            got.append(b"".join(array.tobytes() for array in dask.compute(*grads)))
    assert got[0] == got[1] == got[2]


@pytest.mark.thorough
def test_depthwise_images_alone_and_narrow_chunks():
    """A kernel that reaches over several chunks; an array without a batch axis; a layout with the channels last."""
    image = np.ascontiguousarray(np.moveaxis(X[0], 0, -1))
    for algorithm in ("implicit_gemm", "direct", "im2col"):
        options = {"padding": (4, 2), "dilation": (3, 2), "groups": 6, "layout": "NHWC", "algorithm": algorithm}
        y = convkit.dask.conv2d(da.from_array(image, (4, 2, 6)), DEPTHWISE, **options)
        assert y.compute().tobytes() == convkit.conv2d(image, DEPTHWISE, **options).tobytes()
    signal = RNG.standard_normal((3, 50))
    pooled = convkit.dask.max_pool1d(da.from_array(signal, (1, 7)), 9, 4, 3)
    assert pooled.compute().tobytes() == convkit.max_pool1d(signal, 9, 4, 3).tobytes()


def test_auto_holds_winograds_bound():
    x, weight = (RNG.standard_normal(s).astype(np.float32) for s in ((1, 32, 40, 40), (32, 32, 3, 3)))
    y = convkit.dask.conv2d(da.from_array(x, (1, 32, 13, 17)), weight, padding=1, algorithm="auto").compute()
    expected = convkit.reference.conv2d(x, weight, padding=1)
    assert np.linalg.norm(y - expected) <= 2e-5 * np.linalg.norm(expected)


def test_channels_in_chunks_are_brought_together_and_it_is_said():
    x = da.from_array(X, (1, 2, 20, 30))
    with pytest.warns(da.PerformanceWarning, match="x has its 6 channels in 3 chunks") as warned:
        y = convkit.dask.conv2d(x, WEIGHT)
    assert warned[0].filename == __file__
    assert y.npartitions >= x.npartitions  # chunks of no more bytes
    assert y.compute().tobytes() == convkit.conv2d(X, WEIGHT, algorithm="implicit_gemm").tobytes()
    assert convkit.dask.avg_pool2d(x, 2).chunks[1] == (2, 2, 2)


def test_empty_arrays():
    for shape in ((0, 6, 9, 9), (2, 0, 9, 9)):
        x, weight = np.zeros(shape, np.float32), np.ones((8, shape[1], 3, 3), np.float32)
        lazy = da.from_array(x)
        y = convkit.dask.conv2d(lazy, weight)
        grads = convkit.dask.conv2d_backward(y, lazy, weight)
        expected = convkit.conv2d_backward(convkit.conv2d(x, weight), x, weight)
        for got, array in zip((y, *grads), (convkit.conv2d(x, weight), *expected), strict=True):
            assert got.compute().tobytes() == array.tobytes()


def test_empty_chunks_are_left_out():
    """As they are where elements were chosen by a condition."""
    sizes = ((0, 2, 0), (6,), (0, 11, 0, 29), (30, 0))
    x, grad = da.from_array(X, sizes), convkit.dask.conv2d(X, WEIGHT, padding=1, padding_mode="replicate")
    grads = convkit.dask.conv2d_backward(grad, x, WEIGHT, padding=1, padding_mode="replicate", need=("x", "weight"))
    full = da.from_array(X, ((2,), (6,), (11, 29), (30,)))
    expected = convkit.dask.conv2d_backward(grad, full, WEIGHT, padding=1, padding_mode="replicate")
    assert grads.x.chunks == full.chunks
    for got, array in zip(dask.compute(*grads[:2]), dask.compute(*expected[:2]), strict=True):
        assert got.tobytes() == array.tobytes()


def test_foreign_byte_order():
    x = da.from_array(X.astype(">f4"), CHUNKS)
    y = convkit.dask.conv2d(x, WEIGHT)
    assert y.compute().tobytes() == convkit.conv2d(X, WEIGHT, algorithm="implicit_gemm").tobytes()
    assert convkit.dask.max_pool2d(x, 2).dtype == X.dtype


@pytest.mark.parametrize("rows", [10, 12])
def test_a_chunk_of_another_shape_than_was_said_is_refused(rows):
    """Else its neighbours' elements would be taken for those that are not there."""
    x = da.from_array(X, CHUNKS).map_blocks(
        lambda chunk: np.resize(chunk, (1, 6, rows, 8)), dtype=X.dtype, name="wrong"
    )
    with pytest.raises(
        ValueError, match=rf"wrong must have the shapes that it says, here \(1, 6, \d+, \d\), got.*{rows}"
    ):
        convkit.dask.avg_pool2d(x, 3, 1).compute()


# ---------------------------------------------------------------- storage


def stored(path, array, chunks) -> zarr.Array:
    """The array in a store of these chunks, uncompressed."""
    z = zarr.create_array(str(path), shape=array.shape, chunks=chunks, dtype=array.dtype, compressors=None)
    z[:] = array
    return z


@pytest.mark.thorough
def test_zarr_arrays_are_taken_in_their_chunks(tmp_path):
    z = stored(tmp_path / "x.zarr", X, CHUNKS)
    y = convkit.dask.conv2d(z, WEIGHT, stride=2)
    assert y.chunks[-1] == (4, 4, 4, 2)
    y.rechunk(8).to_zarr(str(tmp_path / "y.zarr"))
    assert zarr.open_array(str(tmp_path / "y.zarr"))[:].tobytes() == convkit.conv2d(X, WEIGHT, stride=2).tobytes()


def test_a_chunk_that_cannot_be_read_is_named(tmp_path):
    z = stored(tmp_path / "x.zarr", X, CHUNKS)
    (tmp_path / "x.zarr/c/1/0/2/3").write_bytes(b"torn")
    y = convkit.dask.conv2d(zarr.open_array(str(tmp_path / "x.zarr")), WEIGHT)
    with pytest.raises(OSError, match=r"x must be readable, got .* for \[1:2, 0:6, 22:33, 24:30\] of .*x\.zarr"):
        y.compute()
    assert z.chunks == CHUNKS


@pytest.mark.thorough
def test_results_are_there_whole_or_not_at_all(tmp_path):
    y, path = convkit.dask.conv2d(da.from_array(X, CHUNKS), WEIGHT, stride=2), tmp_path / "y.zarr"
    z = convkit.dask.to_zarr(y, path)
    assert (z.chunks, z[:].tobytes()) == ((1, 8, 6, 4), convkit.conv2d(X, WEIGHT, stride=2).tobytes())
    (tmp_path / "link.zarr").symlink_to("nowhere")
    for taken in (path, tmp_path / "link.zarr"):
        with pytest.raises(FileExistsError, match=rf"path must be nothing yet, got '{taken}'"):
            convkit.dask.to_zarr(y, taken)
    small = convkit.dask.to_zarr(y, tmp_path / "small.zarr", chunks=(1, 3, 2, 5), compressors=None)
    assert (small.chunks, small[:].tobytes()) == ((1, 3, 2, 5), z[:].tobytes())
    with pytest.raises(AssertionError, match="computed"):
        convkit.dask.to_zarr(not_computed(X.shape, CHUNKS), tmp_path / "none.zarr")
    assert {entry.name for entry in tmp_path.iterdir()} == {"y.zarr", "link.zarr", "small.zarr"}
    assert convkit.dask.to_zarr(y[:0], tmp_path / "empty.zarr").shape == (0, 8, 19, 14)


def test_results_in_the_format_before(tmp_path):
    z = convkit.dask.to_zarr(da.from_array(X, CHUNKS), tmp_path / "y.zarr", zarr_format=2)
    assert (z.metadata.zarr_format, z[:].tobytes()) == (2, X.tobytes())


def test_a_full_disk_is_an_error_that_names_the_array_and_the_place(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(OSError, match=r"y\.zarr must be writable, got .*No space.* for \[.*\] of"):
        convkit.dask.to_zarr(da.from_array(X, CHUNKS), tmp_path / "y.zarr")
    monkeypatch.setattr(zarr, "create_array", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*y\.zarr'"):
        convkit.dask.to_zarr(da.from_array(X, CHUNKS), tmp_path / "y.zarr")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("late", ["before it writes", "while it writes"])
def test_what_is_written_after_the_end_is_not_there(late, tmp_path, monkeypatch):
    """By a task that another's failure has overtaken."""
    there, over, write = threading.Event(), threading.Event(), zarr.Array.__setitem__

    def overtaken():
        there.set()
        assert over.wait(60)

    def part(chunk, block_info=None):
        if block_info[0]["chunk-location"][0] == 0:
            assert there.wait(60)
            raise RuntimeError("no such thing")
        if late == "before it writes":
            overtaken()
        return chunk

    def writing(*where_and_what):
        if late == "while it writes":
            overtaken()
        write(*where_and_what)

    monkeypatch.setattr(zarr.Array, "__setitem__", writing)
    with ThreadPoolExecutor(2) as pool, dask.config.set(pool=pool):
        with pytest.raises(RuntimeError, match="no such thing"):
            convkit.dask.to_zarr(da.ones((2, 9), chunks=(1, 9)).map_blocks(part, dtype=float), tmp_path / "y.zarr")
        over.set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["dask", "zarr"])
def test_functions_on_ndarrays_refuse_what_they_would_load_whole(package, tmp_path):
    lazy = not_computed(X.shape, CHUNKS) if package == "dask" else stored(tmp_path / "x.zarr", X, CHUNKS)
    indices = da.zeros((2, 6, 20, 15), dtype=np.int64)
    for call, name in (
        (lambda: convkit.conv2d(lazy, WEIGHT), "x"),
        (lambda: convkit.conv2d(X, lazy), "weight"),
        (lambda: convkit.max_pool2d(lazy, 2), "x"),
        (lambda: convkit.interpolate(lazy, 5), "x"),
        (lambda: convkit.max_pool2d_backward(X[..., :20, :15], indices, X.shape), "indices"),
    ):
        with pytest.raises(TypeError, match=rf"{name} must be an ndarray, got an array of .*convkit\.dask"):
            call()


# ---------------------------------------------------------------- networks


def net(images):
    """Something that could be a network."""
    return np.maximum(images, 0).sum(axis=(2, 3))


def test_network():
    x = da.from_array(X, (1, -1, -1, -1))
    y = convkit.dask.network(net, x)
    assert (y.chunks, y.dtype) == (((1, 1), (6,)), np.float32)
    assert y.compute().tobytes() == net(X).tobytes()
    with pytest.warns(da.PerformanceWarning, match="whole ones"):
        y = convkit.dask.network(net, da.from_array(X, (2, 3, 40, 10)))
    assert y.compute().tobytes() == net(X).tobytes()


def test_functions_of_several_results():
    first, second = convkit.dask.network(lambda x: (x[:, 0, 0, :2], x * 2), da.from_array(X, (1, -1, -1, -1)))
    assert (first.chunks, second.chunks) == (((1, 1), (2,)), ((1, 1), (6,), (40,), (30,)))
    assert first.compute().tobytes() == X[:, 0, 0, :2].tobytes() and second.compute().tobytes() == (X * 2).tobytes()


@pytest.mark.thorough
def test_a_network_over_large_images():
    """Chunks go by the strides, nothing is computed or held beside blocks, and the model is sent once."""
    layers = (
        convkit.nn.Conv2d(6, 8, 3, padding=1, stride=2, rng=0),
        convkit.nn.ReLU(),
        convkit.nn.Conv2d(8, 2, 5, rng=0),
    )
    net = convkit.nn.Sequential(*layers).prepare()
    x = not_computed((1, 6, 10**6, 10**6 // 2), (1, 6, 10**5, 10**5))
    y = convkit.dask.network(net, x)
    assert y.chunks == ((1,), (2,), (5 * 10**4,) * 9 + (5 * 10**4 - 4,), (5 * 10**4,) * 4 + (5 * 10**4 - 4,))
    assert len(y.dask) - len(x.dask) <= 9 * 50 + 2
    assert len(pickle.dumps(dict(y.dask))) - len(pickle.dumps(dict(x.dask))) < len(pickle.dumps(net)) + 400_000
    with _Largest() as largest:
        convkit.dask.network(net, da.ones((1, 6, 400, 400), dtype=np.float32, chunks=(1, 6, 50, 50))).sum().compute()
    assert largest.bytes <= 6 * 50 * 50 * 4
    with pytest.warns(da.PerformanceWarning, match="x has its 6 channels in 3 chunks"):
        y = convkit.dask.network(net, da.from_array(X, (1, 2, 20, 30)))
    np.testing.assert_allclose(y.compute(), net(X), 1e-4, 1e-5)


def test_a_network_that_reads_all_of_an_image_takes_whole_ones():
    net = convkit.nn.Sequential(convkit.nn.Conv2d(6, 8, 3, rng=0), convkit.nn.GlobalAvgPool2d()).prepare()
    with pytest.raises(ValueError, match=r"it has GlobalAveragePool \(1\)\nx has its images in chunks, "):
        convkit.dask.network(net, da.from_array(X, CHUNKS))
    y = convkit.dask.network(net, da.from_array(X, CHUNKS).rechunk({2: -1, 3: -1}))
    np.testing.assert_allclose(y.compute(), net(X), 1e-5)


def test_a_function_may_return_integers():
    y = convkit.dask.network(lambda images: images.argmax(1), da.from_array(X))
    assert y.dtype == np.int64 and np.array_equal(y.compute(), X.argmax(1))


def test_threads_are_part_of_a_name():
    """Tasks of one name are one task, where graphs meet."""
    with dask.config.set({"convkit.threads": 0}), pytest.raises(ValueError, match="convkit.threads must be a number"):
        convkit.dask.conv2d(LAZY, WEIGHT)
    x, names = da.from_array(X, CHUNKS), set()
    for threads in (1, 4):
        with dask.config.set({"convkit.threads": threads}):
            names.add(convkit.dask.conv2d(x, WEIGHT).name)
    assert len(names) == 2


@pytest.mark.thorough
def test_a_network_is_sent_once_and_predicts_in_threads():
    model = convkit.nn.Sequential(convkit.nn.Conv2d(6, 200, 3, rng=0), convkit.nn.BatchNorm2d(200), convkit.nn.ReLU())
    x = da.from_array(np.repeat(X, 20, 0), (1, -1, -1, -1))
    for net in (model.predict, model.prepare(X.shape)):
        y = convkit.dask.network(net, x)
        assert len(pickle.dumps(dict(y.dask))) < 2 * len(pickle.dumps(net)) + x.nbytes
        assert np.array_equal(y.compute(), np.repeat(net(X), 20, 0))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (5, TypeError, "net must be a function of a batch of images, got int"),
        (lambda x: 5, TypeError, "net must return an array, got int"),
        (lambda x: [], ValueError, "net must return an array, or several, got none"),
        (lambda x: x[0], ValueError, r"one result for one image, got shape \(6, 40, 30\)"),
    ],
)
def test_what_is_no_network(function, error, message):
    with pytest.raises(error, match=message):
        convkit.dask.network(function, da.from_array(X))


def test_a_network_that_forgets_images():
    y = convkit.dask.network(lambda x: x[:1, :, 0, 0], da.from_array(X))
    with pytest.raises(ValueError, match=r"net must return shape \(2, 6\) for 2 images, got \(1, 6\)"):
        y.compute()


# ---------------------------------------------------------------- refusals

LAZY = da.from_array(X, CHUNKS)
UNKNOWN = LAZY[LAZY[:, 0, 0, 0] > 0]
POOLED = da.zeros((2, 6, 20, 15), dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: convkit.dask.conv2d(LAZY.astype(int), WEIGHT),
            TypeError,
            "x must be float32 or float64, got dtype int",
        ),
        (lambda: convkit.dask.conv2d(LAZY, WEIGHT.astype(float)), TypeError, "weight must have the dtype of x"),
        (lambda: convkit.dask.conv2d(LAZY, WEIGHT[:, :5]), ValueError, "x must have weight.shape"),
        (lambda: convkit.dask.conv2d(LAZY, WEIGHT, np.ones(7, np.float32)), ValueError, r"bias must have shape \(8,\)"),
        (lambda: convkit.dask.conv2d(UNKNOWN, WEIGHT), ValueError, "x must have chunks of known sizes"),
        (lambda: convkit.dask.conv2d(LAZY, WEIGHT, stride=2, algorithm="winograd"), ValueError, "algorithm must be"),
        (lambda: convkit.dask.conv2d(LAZY, WEIGHT, activation="softmax"), ValueError, "activation must be"),
        (lambda: convkit.dask.conv2d([1.0], WEIGHT), TypeError, "x must be a float32 or float64 array, got list"),
        (lambda: convkit.dask.conv2d_backward(LAZY, LAZY, WEIGHT), ValueError, "grad must have shape"),
        (lambda: convkit.dask.conv2d_backward(LAZY, X.shape, WEIGHT), TypeError, "x must be an array where need"),
        (
            lambda: convkit.dask.max_pool2d_backward(POOLED, POOLED, X.shape, 2),
            TypeError,
            "indices must be a Dask array",
        ),
        (lambda: convkit.dask.avg_pool2d_backward(POOLED, X.shape, 3), ValueError, "grad must have shape"),
        (lambda: convkit.dask.interpolate(LAZY), ValueError, "size or scale_factor must be given"),
        (lambda: convkit.dask.interpolate(LAZY, 9, mode="area"), ValueError, "mode must be .* map_blocks is to apply"),
        (lambda: convkit.dask.interpolate_backward(LAZY[0], X.shape), ValueError, "grad must have as many axes"),
        (lambda: convkit.dask.network(net, LAZY[0, 0, 0]), ValueError, "x must have shape"),
        (lambda: convkit.dask.to_zarr(LAZY, "s3://bucket/y"), ValueError, "path must be that of a folder"),
        (lambda: convkit.dask.adaptive_avg_pool2d, AttributeError, "its windows follow from the size of the plane"),
        (lambda: convkit.dask.conv4d, AttributeError, "has no attribute 'conv4d'"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_index_outside_of_its_windows_is_refused_when_it_is_computed():
    indices = da.zeros(POOLED.shape, dtype=np.int64, chunks=(1, 6, 10, 15))
    dx = convkit.dask.max_pool2d_backward(POOLED.rechunk(indices.chunks), indices, X.shape, 2)
    with pytest.raises(ValueError, match=r"indices must lie in their windows.*got 0 of a plane \(40, 30\)"):
        dx.compute()


def test_under_query_planning_it_says_what_it_needs(monkeypatch):
    monkeypatch.delitem(sys.modules, "convkit.dask._needed")
    with dask.config.set({"array.query-planning": True}), pytest.raises(ImportError, match="array.query-planning"):
        importlib.import_module("convkit.dask._needed")


def test_without_dask(monkeypatch):
    for module in [name for name in sys.modules if name.startswith("convkit.dask")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr(convkit, "dask")
    missing.hide(monkeypatch, "dask")
    with pytest.raises(ImportError, match=r"dask is not installed; it comes with the extra \[dask\]"):
        importlib.import_module("convkit.dask")
