# Sums over channels and affine maps of them: fills ck_channels and calls it.


cdef int plan_channels(ck.ck_channels *call) except -1:
    while True:
        call.run.workspace_bytes = ck.ck_channels_workspace(call)
        if fits(&call.run):
            return 0


def channels(cnp.ndarray x not None, cnp.ndarray g, cnp.ndarray y, cnp.ndarray sums, bint lanes, int cuts,
             tuple numbers, int activation, double act_a, double act_b, int threads):
    """Into y, (n, c, l), or into sums, (c, 2), what ck_channels says; the numbers are adjacent, (c,) each."""
    cdef ck.ck_channels call
    cdef ck.ck_status status
    cdef Buffer buffer
    cdef int i
    memset(&call, 0, sizeof(ck.ck_channels))
    call.n, call.c, call.l = cnp.PyArray_DIMS(x)[0], cnp.PyArray_DIMS(x)[1], cnp.PyArray_DIMS(x)[2]
    call.lanes, call.cuts = lanes, cuts
    call.kernels = kernels_for(x)
    set_strided(&call.x, x)
    if g is not None:
        set_strided(&call.g, g)
    if y is not None:
        set_strided(&call.y, y)
    for i in range(len(numbers)):
        call.numbers[i] = cnp.PyArray_DATA(numbers[i])
    if sums is not None:
        call.sums = <double *>cnp.PyArray_DATA(sums)
    call.activation, call.act_a, call.act_b = activation, act_a, act_b
    set_run(&call.run, threads)
    plan_channels(&call)
    take_workspace(&buffer, &call.run)
    with nogil:
        status = ck.ck_channels_run(&call)
    give_back(&buffer)
    raise_status(status)
