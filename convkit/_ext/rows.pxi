# Rows of arrays, each by itself: fills ck_rows and calls it.


def softmax(cnp.ndarray x not None, cnp.ndarray y not None, int threads):
    """Into y that of the rows of x; both are (n, c, l), adjacent and not empty, and their n * l rows c values each."""
    cdef ck.ck_rows call
    cdef ck.ck_status status
    memset(&call, 0, sizeof(ck.ck_rows))
    call.op = ck.CK_SOFTMAX
    call.n, call.c, call.l = cnp.PyArray_DIMS(x)[0], cnp.PyArray_DIMS(x)[1], cnp.PyArray_DIMS(x)[2]
    call.kernels = kernels_for(x)
    set_strided(&call.x, x)
    set_strided(&call.y, y)
    set_run(&call.run, threads)
    with nogil:
        status = ck.ck_rows_run(&call)
    raise_status(status)
