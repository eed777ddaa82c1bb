# Gradient descent: fills a ck_descent for each array and calls it.


cdef void set_descent(ck.ck_descent *call, cnp.ndarray w, cnp.ndarray grad, cnp.ndarray m, cnp.ndarray s) noexcept:
    memset(call, 0, sizeof(ck.ck_descent))
    call.count = cnp.PyArray_SIZE(w)
    call.kernels = kernels_for(w)
    call.w = cnp.PyArray_DATA(w)
    call.g = cnp.PyArray_DATA(grad)
    if m is not None:
        call.m = cnp.PyArray_DATA(m)
    if s is not None:
        call.s = cnp.PyArray_DATA(s)


def descend(list steps not None, int threads):
    """Takes steps in place, each a tuple of what ck_descent has; its arrays are contiguous, aligned, of one shape."""
    cdef ck.ck_descent *calls = <ck.ck_descent *>malloc(max(1, len(steps)) * sizeof(ck.ck_descent))
    cdef ck.ck_descent *call = calls
    cdef int64_t count = len(steps)
    cdef ck.ck_status status
    cdef ck.ck_run run
    if calls == NULL:
        raise MemoryError
    try:
        for w, grad, m, s, rate, keep, l2, m_keep, m_take, look, ahead, s_keep, s_take, s_scale, eps, s_first in steps:
            set_descent(call, w, grad, m, s)
            call.rate, call.keep, call.l2 = rate, keep, l2
            call.m_keep, call.m_take, call.look, call.ahead = m_keep, m_take, look, ahead
            call.s_keep, call.s_take, call.s_scale, call.eps, call.s_first = s_keep, s_take, s_scale, eps, s_first
            call += 1
        memset(&run, 0, sizeof(ck.ck_run))
        set_run(&run, threads)
        with nogil:
            status = ck.ck_descent_run(calls, count, &run)
        raise_status(status)
    finally:
        free(calls)
