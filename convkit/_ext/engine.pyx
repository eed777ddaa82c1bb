# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The Cython boundary: buffers in, one call of the C library without the GIL, status out.

Everything arrives checked by ``convkit.ops``; nothing is checked again here and nothing is computed.  One extension
module holds the whole C library, so that its kernels and its state exist once; each family of operators has its own
``.pxi``, of the same stem as its Python and its C.
"""
from threading import Lock

import numpy as np

cimport cython
from cpython.exc cimport PyErr_Occurred
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memset

cimport numpy as cnp

from convkit._ext cimport convkit as ck

cnp.import_array()
ck.ck_after_fork()  # from here on a fork is noticed, even one before the first call


cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # leaves the exception pending: it is raised once the call has returned


cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **pointer, size_t alignment, size_t size)


cdef int raise_pending() except -1:
    return -1 if PyErr_Occurred() else 0


cdef int poll_signals(void *context) noexcept nogil:
    with gil:
        return PyErr_CheckSignals()


cdef int raise_status(ck.ck_status status) except -1:
    """The one place where a status becomes an exception."""
    if status == ck.CK_OK:
        return 0
    if status == ck.CK_INTERRUPTED:
        raise_pending()
        raise KeyboardInterrupt
    if status == ck.CK_OVERFLOW:
        raise OverflowError("a size or a product of sizes does not fit 64 bits")
    if status == ck.CK_UNSUPPORTED:
        raise ValueError("algorithm: the one named cannot do this shape")
    raise RuntimeError(f"the C library returned status {<int>status}")


cdef inline const ck.ck_kernels *kernels_for(cnp.ndarray array) noexcept:
    """The kernels of a call, taken once: another thread may choose another instruction set at any moment."""
    return ck.ck_kernels_for(ck.CK_F32 if cnp.PyArray_ITEMSIZE(array) == 4 else ck.CK_F64)


# ---------------------------------------------------------------- workspace

cdef enum:
    KEPT = 4

cdef struct Buffer:
    void *data
    int64_t bytes

# Free buffers, to be used again: fresh memory costs 0.4 ms of page faults a megabyte. Guarded by the lock below.
cdef Buffer kept[KEPT]
memset(kept, 0, sizeof(kept))


@cython.critical_section
cdef int swap_buffer(object lock, Buffer *buffer, int64_t bytes) except -1:
    """Takes out the smallest kept buffer of at least ``bytes``; with ``bytes`` < 0 puts one back for the smallest."""
    cdef int i, at = -1
    for i in range(KEPT):
        if bytes < 0:
            if kept[i].bytes < buffer.bytes and (at < 0 or kept[i].bytes < kept[at].bytes):
                at = i
        elif kept[i].bytes >= bytes and (at < 0 or kept[i].bytes < kept[at].bytes):
            at = i
    if at >= 0:
        kept[at], buffer[0] = buffer[0], kept[at]
    return 0


cdef object buffers_lock = object()


cdef int take_buffer(Buffer *buffer, int64_t bytes) except -1:
    buffer.data = NULL
    buffer.bytes = 0
    if bytes == 0:
        return 0
    swap_buffer(buffers_lock, buffer, bytes)
    if buffer.data == NULL:
        if posix_memalign(&buffer.data, 64, <size_t>bytes) != 0:
            raise MemoryError(f"workspace of {bytes} bytes was refused")
        buffer.bytes = bytes
    return 0


cdef int give_back(Buffer *buffer) except -1:
    if buffer.data != NULL:
        swap_buffer(buffers_lock, buffer, -1)
        free(buffer.data)
    return 0


include "conv.pxi"
include "prepared.pxi"
include "deform.pxi"
include "resize.pxi"
include "grid.pxi"
include "descent.pxi"
include "machine.pxi"
include "pool.pxi"
