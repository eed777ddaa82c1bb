# Gradient descent: fills ck_descent and calls it.


def descend(cnp.ndarray w not None, cnp.ndarray grad not None, cnp.ndarray m, cnp.ndarray s, int threads, *,
            double rate, double keep, double l2, double m_keep, double m_take, double look, double ahead,
            double s_keep, double s_take, double s_scale, double eps, bint s_first):
    """One step, in place; all arrays are contiguous and aligned, of one shape and dtype. m and s may be None."""
    cdef ck.ck_descent call
    cdef ck.ck_status status
    memset(&call, 0, sizeof(ck.ck_descent))
    call.count = cnp.PyArray_SIZE(w)
    call.kernels = kernels_for(w)
    call.w = cnp.PyArray_DATA(w)
    call.g = cnp.PyArray_DATA(grad)
    if m is not None:
        call.m = cnp.PyArray_DATA(m)
    if s is not None:
        call.s = cnp.PyArray_DATA(s)
    call.rate, call.keep, call.l2 = rate, keep, l2
    call.m_keep, call.m_take, call.look, call.ahead = m_keep, m_take, look, ahead
    call.s_keep, call.s_take, call.s_scale, call.eps, call.s_first = s_keep, s_take, s_scale, eps, s_first
    set_run(&call.run, threads)
    with nogil:
        status = ck.ck_descent_run(&call)
    raise_status(status)
