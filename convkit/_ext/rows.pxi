# Rows of arrays, each by itself: fills ck_rows and calls it.


cdef int run_rows(ck.ck_rows *call, cnp.ndarray x, cnp.ndarray y, int threads) except -1:
    """Both are (n, c, l), adjacent and not empty, and their n * l rows c values each."""
    cdef ck.ck_status status
    call.n, call.c, call.l = cnp.PyArray_DIMS(x)[0], cnp.PyArray_DIMS(x)[1], cnp.PyArray_DIMS(x)[2]
    call.kernels = kernels_for(x)
    set_strided(&call.x, x)
    set_strided(&call.y, y)
    set_run(&call.run, threads)
    with nogil:
        status = ck.ck_rows_run(call)
    return raise_status(status)


def softmax(cnp.ndarray x not None, cnp.ndarray y not None, int threads):
    """Into y that of the rows of x."""
    cdef ck.ck_rows call
    memset(&call, 0, sizeof(ck.ck_rows))
    call.op = ck.CK_SOFTMAX
    run_rows(&call, x, y, threads)


def cross_entropy(cnp.ndarray x not None, cnp.ndarray labels not None, cnp.ndarray losses not None,
                  cnp.ndarray y, int threads):
    """Into losses those of the rows of x, into y, if there is one, their gradients; labels are int64, each a class, and
    adjacent, too."""
    cdef ck.ck_rows call
    memset(&call, 0, sizeof(ck.ck_rows))
    call.op = ck.CK_CROSS_ENTROPY
    call.labels, call.losses = <const int64_t *>cnp.PyArray_DATA(labels), cnp.PyArray_DATA(losses)
    run_rows(&call, x, y, threads)
