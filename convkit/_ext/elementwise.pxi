# Element by element: fills ck_elementwise and calls it.

MAX_AXES = ck.CK_AXES


cdef void set_strided(ck.ck_strided *to, cnp.ndarray array) noexcept:
    """Where the array lies, if there is one."""
    cdef int i
    if array is None:
        return
    to.data = cnp.PyArray_DATA(array)
    for i in range(cnp.PyArray_NDIM(array)):
        to.stride[i] = cnp.PyArray_STRIDES(array)[i]


def elementwise(int op, cnp.ndarray y not None, cnp.ndarray a not None, cnp.ndarray b, int activation, double act_a,
                double act_b, int threads):
    """y = activation(a op b), or what else ck_element_op says; all arrays have y's shape, of at most MAX_AXES axes."""
    cdef ck.ck_elementwise call
    cdef ck.ck_status status
    cdef int i
    memset(&call, 0, sizeof(ck.ck_elementwise))
    call.op = <ck.ck_element_op>op
    call.axes = cnp.PyArray_NDIM(y)
    for i in range(call.axes):
        call.size[i] = cnp.PyArray_DIMS(y)[i]
    call.kernels = kernels_for(y)
    set_strided(&call.y, y)
    set_strided(&call.a, a)
    set_strided(&call.b, b)
    call.activation, call.act_a, call.act_b = activation, act_a, act_b
    set_run(&call.run, threads)
    with nogil:
        status = ck.ck_elementwise_run(&call)
    raise_status(status)
