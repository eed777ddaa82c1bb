# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The Cython boundary: buffers in, one call of the C library without the GIL, status out.

Everything arrives checked by ``convkit.ops``, the usual case of it by ``arguments.pxi``; nothing is checked again here
and nothing is computed.  One extension module holds the whole C library, so that its kernels and its state exist once;
each family of operators has its own ``.pxi``, of the same stem as its Python and its C.
"""
import os
from contextvars import ContextVar
from math import prod
from threading import Lock, main_thread

import numpy as np

cimport cython
from cpython.contextvars cimport PyContextVar_Get
from cpython.exc cimport PyErr_Occurred
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strcpy

cimport numpy as cnp

from convkit._ext cimport convkit as ck

cnp.import_array()
ck.ck_after_fork()  # from here on a fork is noticed, even one before the first call


cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil
    int PyErr_CheckSignals() noexcept  # leaves the exception pending: it is raised once the call has returned


# Python handles signals in its main thread alone. Another, a daemon perhaps, must not ask for the interpreter's lock in
# the middle of a call: once the interpreter is ending it would not come back, and its call's threads are still at work.
cdef unsigned long main_ident = main_thread().ident


def note_main_thread():
    """In a forked child the thread that forked is the main one."""
    global main_ident
    main_ident = PyThread_get_thread_ident()


os.register_at_fork(after_in_child=note_main_thread)


cdef int poll_signals() noexcept nogil:
    if PyThread_get_thread_ident() != main_ident:
        return 0
    with gil:
        return PyErr_CheckSignals()


cdef inline object value_of(object variable):
    """variable.get(), in a third of the time."""
    cdef PyObject *value = NULL
    PyContextVar_Get(variable, NULL, &value)
    found = <object>value
    Py_XDECREF(value)
    return found


flush_denormals = ContextVar("convkit_flush_denormals", default=False)


cdef inline void set_run(ck.ck_run *run, int threads) noexcept:
    """How a call runs. A limit of 0 allows what 1 does: scratch is taken in larger steps, and 0 is none."""
    cdef int64_t limit = value_of(workspace_limit)
    run.threads = threads
    run.flush_denormals = value_of(flush_denormals)
    run.limit = 0 if limit < 0 else max(limit, 1)
    run.poll = poll_signals


cdef int raise_status(ck.ck_status status) except -1:
    """The one place where a status becomes an exception."""
    if status == ck.CK_OK:
        return 0
    if PyErr_Occurred():  # what a signal's handler raised
        return -1
    if status == ck.CK_INTERRUPTED:
        raise KeyboardInterrupt
    if status == ck.CK_FORKED:
        raise RuntimeError("a signal's handler forked during this call, which cannot be finished in the child")
    raise RuntimeError(f"a fault in convkit, please report it: {ck.ck_status_name(status).decode()}")


cdef inline const ck.ck_kernels *kernels_for(cnp.ndarray array) noexcept:
    """The kernels of a call, taken once: another thread may choose another instruction set at any moment."""
    return ck.ck_kernels_for(ck.CK_F32 if cnp.PyArray_ITEMSIZE(array) == 4 else ck.CK_F64)


include "codes.pxi"
include "memory.pxi"
include "arguments.pxi"
include "conv.pxi"
include "prepared.pxi"
include "deform.pxi"
include "resize.pxi"
include "grid.pxi"
include "descent.pxi"
include "elementwise.pxi"
include "channels.pxi"
include "rows.pxi"
include "normal.pxi"
include "machine.pxi"
include "pool.pxi"
include "program.pxi"
