# Sums over channels and affine maps of them: fills ck_channels and calls it.


cdef int plan_channels(ck.ck_channels *call) except -1:
    while True:
        call.run.workspace_bytes = ck.ck_channels_workspace(call)
        if fits(&call.run):
            return 0


cdef void set_channels(ck.ck_channels *call, cnp.ndarray x, cnp.ndarray g, cnp.ndarray y, bint lanes, int cuts,
                       int activation, double a, double b, int threads) noexcept:
    """The arrays, (n, c, l), of which g and y may be None, and what is done to each element."""
    call.n, call.c, call.l = cnp.PyArray_DIMS(x)[0], cnp.PyArray_DIMS(x)[1], cnp.PyArray_DIMS(x)[2]
    call.lanes, call.cuts = lanes, cuts
    call.kernels = kernels_for(x)
    set_strided(&call.x, x)
    set_strided(&call.g, g)
    set_strided(&call.y, y)
    call.activation, call.act_a, call.act_b = activation, a, b
    set_run(&call.run, threads)


cdef inline void *data_of(cnp.ndarray array) noexcept:
    return NULL if array is None else cnp.PyArray_DATA(array)


def channels(cnp.ndarray x not None, cnp.ndarray g, cnp.ndarray y, cnp.ndarray sums, bint lanes, int cuts,
             tuple numbers, int activation, double act_a, double act_b, int threads):
    """Into y, (n, c, l), or into sums, (c, 2), what ck_channels says; the numbers are adjacent, (c,) each."""
    cdef ck.ck_channels call
    cdef ck.ck_status status
    cdef Buffer buffer
    cdef int i
    memset(&call, 0, sizeof(ck.ck_channels))
    set_channels(&call, x, g, y, lanes, cuts, activation, act_a, act_b, threads)
    for i in range(len(numbers)):
        call.numbers[i] = cnp.PyArray_DATA(numbers[i])
    call.sums = <double *>data_of(sums)
    plan_channels(&call)
    take_workspace(&buffer, &call.run)
    with nogil:
        status = ck.ck_channels_run(&call)
    give_back(&buffer)
    raise_status(status)
