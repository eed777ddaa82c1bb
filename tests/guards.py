"""What calls do with memory, for Linux: arrays flush against pages without access, so that touching one byte too far
is a crash; and how far a call raises the peak."""

import ctypes
import faulthandler
import mmap

import numpy as np

faulthandler.enable()
_LIBC, _KEPT = ctypes.CDLL(None, use_errno=True), []


def flush(array, at_end):
    """A copy of `array` that ends, or begins, where a page without access begins, or ends; there until `release`."""
    page = mmap.PAGESIZE
    body = -(-max(array.nbytes, 1) // page) * page
    memory = mmap.mmap(-1, body + 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for start in (base, base + page + body):
        assert _LIBC.mprotect(ctypes.c_void_p(start), page, 0) == 0
    offset = page + (body - array.nbytes if at_end else 0)
    view = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    view[...] = array
    _KEPT.append((memory, view))
    return view


def status(field):
    """Bytes, of this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def map_large_blocks():
    """From now on the C library maps every block of 64 KiB and more, and unmaps it when it is freed."""
    assert _LIBC.mallopt(-3, 1 << 16) == 1  # M_MMAP_THRESHOLD


def peak_of(call):
    """What a call gives, and how many bytes it had meanwhile beyond what there was before."""
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")
    before = status("VmRSS")
    return call(), status("VmHWM") - before


def release():
    """Give back the memory of all."""
    _KEPT.clear()
