"""The zoo of strided arrays: every maker returns a view with the values of its argument, laid out otherwise."""

import numpy as np

CANARY = -77.0  # in int64 too


def reversed_everywhere(array):
    flip = (slice(None, None, -1),) * array.ndim
    return array[flip].copy()[flip]


def reversed_last(array):
    return array[..., ::-1].copy()[..., ::-1]


def fortran(array):
    return np.asfortranarray(array)


def transposed(array):
    """The two first axes change places in memory."""
    return array.swapaxes(0, 1).copy().swapaxes(0, 1) if array.ndim > 1 else array


def rotated(array):
    """The last axis lies outermost."""
    return np.moveaxis(np.moveaxis(array, -1, 0).copy(), 0, -1)


def stepped(array):
    """Every second, third, ... element of a larger array filled with NaN: what must not be read shows."""
    foreign = np.nan if array.dtype.kind == "f" else -(2**40)
    steps = tuple(2 + axis % 2 for axis in range(array.ndim))
    larger = np.full(
        tuple(size * step + 1 for size, step in zip(array.shape, steps, strict=True)), foreign, array.dtype
    )
    inside = larger[tuple(slice(1, 1 + size * step, step) for size, step in zip(array.shape, steps, strict=True))]
    inside[...] = array
    return inside


def misaligned(array):
    """One byte past an aligned address."""
    view = np.frombuffer(bytearray(array.nbytes + 1), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def misaligned_steps(array):
    """Elements 4k + 1 or 8k + 1 bytes apart, as a field of a packed record has them."""
    record = np.zeros(array.shape, np.dtype([("tag", "u1"), ("value", array.dtype)]))
    record["value"] = array
    return record["value"]


def read_only(array):
    view = array.copy()
    view.flags.writeable = False
    return view


def swapped_bytes(array):
    return array.astype(array.dtype.newbyteorder())


def garbage_strides(array):
    """Axes of size 1 get absurd strides, which nobody may use."""
    strides = (2**62 + 3 if size == 1 else stride for size, stride in zip(array.shape, array.strides, strict=True))
    return np.lib.stride_tricks.as_strided(array.copy(), array.shape, tuple(strides))


def subclass(array):
    class Named(np.ndarray):
        pass

    return array.copy().view(Named)


def repeated(array):
    """Views with stride 0 along some of the axes: every choice of them."""
    for mask in range(1, 2**array.ndim):
        one = tuple(slice(0, 1 if mask >> axis & 1 else None) for axis in range(array.ndim))
        yield np.broadcast_to(array[one], array.shape)


VIEWS = (
    reversed_everywhere, reversed_last, fortran, transposed, rotated, stepped, misaligned, misaligned_steps, read_only,
    swapped_bytes, garbage_strides, subclass,
)  # fmt: skip


FORMS = ("rows", "steps", "reversed", "upward")  # upward: whole rows, each behind the one that comes after it


def with_canaries(shape, dtype, form):
    """A writable array of `shape` inside a larger one full of canaries, and a check that none of them has changed."""
    leads = (0,) * len(shape) if form != "rows" else (1,) * (len(shape) - 1) + (3,)
    margins = (2,) * (len(shape) - 1) + (9,)  # a vector too far is found along the last axis
    outer = len(shape) - 1
    steps = {"rows": (1,) * outer + (1,), "steps": (2,) * outer + (2,), "reversed": (-3,) + (2,) * outer,
             "upward": (-1,) * outer + (1,)}[form]  # fmt: skip
    sizes = (max(size, 1) * abs(step) + more for size, step, more in zip(shape, steps, margins, strict=True))
    larger = np.full(tuple(sizes), CANARY, dtype)
    inside = []
    for size, step, lead in zip(shape, steps, leads, strict=True):
        first = lead + (0 if step > 0 else (size - 1) * -step)
        last = first + size * step
        inside.append(slice(first, None if last < 0 else last, step))
    view, untouched = larger[tuple(inside)], np.ones(larger.shape, bool)
    untouched[tuple(inside)] = False
    assert view.shape == shape

    def check():
        assert (larger[untouched] == CANARY).all()

    return view, check
