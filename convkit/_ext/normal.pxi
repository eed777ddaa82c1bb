# Normalisation by moments: fills ck_normal and calls it.


cdef void set_normal(ck.ck_normal *call, cnp.ndarray x, cnp.ndarray g, cnp.ndarray y, bint lanes, int pieces, int cuts,
                     cnp.ndarray known, cnp.ndarray weight, cnp.ndarray bias, int activation, double a, double b,
                     int threads) noexcept:
    memset(call, 0, sizeof(ck.ck_normal))
    set_channels(&call.arrays, x, g, y, lanes, cuts, activation, a, b, threads)
    call.pieces, call.channels = pieces, call.arrays.c // pieces
    call.known = <double *>cnp.PyArray_DATA(known)
    call.weight, call.bias = data_of(weight), data_of(bias)


cdef int plan_normal(ck.ck_normal *call) except -1:
    while True:
        call.arrays.run.workspace_bytes = ck.ck_normal_workspace(call)
        if fits(&call.arrays.run):
            return 0


cdef int run_normal(ck.ck_normal *call, bint back) except -1:
    cdef ck.ck_status status
    cdef Buffer buffer
    plan_normal(call)
    take_workspace(&buffer, &call.arrays.run)
    with nogil:
        status = ck.ck_normal_backward(call) if back else ck.ck_normal_forward(call)
    give_back(&buffer)
    return raise_status(status)


def normal_forward(cnp.ndarray x not None, cnp.ndarray y, bint lanes, int pieces, int cuts,
                   cnp.ndarray known not None, double epsilon, cnp.ndarray weight, cnp.ndarray bias, int activation,
                   double act_a, double act_b, int threads):
    """What ck_normal says, (n, c, l) of x and y; whether a channel is extreme. The others are contiguous."""
    cdef ck.ck_normal call
    set_normal(&call, x, None, y, lanes, pieces, cuts, known, weight, bias, activation, act_a, act_b, threads)
    call.epsilon = epsilon
    run_normal(&call, False)
    return bool(call.extreme)


def normal_backward(cnp.ndarray x not None, cnp.ndarray g not None, cnp.ndarray y, bint lanes, int pieces, int cuts,
                    cnp.ndarray known not None, cnp.ndarray weight, cnp.ndarray bias, cnp.ndarray total,
                    cnp.ndarray product, bint constant, int activation, double act_a, double act_b, int threads):
    """What ck_normal says of the way back."""
    cdef ck.ck_normal call
    set_normal(&call, x, g, y, lanes, pieces, cuts, known, weight, bias, activation, act_a, act_b, threads)
    call.total, call.product, call.constant = data_of(total), data_of(product), constant
    run_normal(&call, True)


cdef void follow_one(cnp.ndarray running, cnp.ndarray known, bint variance, double times, double rate) noexcept:
    cdef ck.ck_follow call
    call.known = <const double *>cnp.PyArray_DATA(known)
    call.channels = cnp.PyArray_DIMS(known)[1]
    call.variance, call.times, call.rate = variance, times, rate
    call.running = cnp.PyArray_DATA(running)
    call.stride, call.real_size = cnp.PyArray_STRIDES(running)[0], cnp.PyArray_ITEMSIZE(running)
    ck.ck_follow_run(&call)


def follow(cnp.ndarray means not None, cnp.ndarray variances not None, cnp.ndarray known not None, double times,
           double rate):
    """What ck_follow says, of means and of variances, which are taken so many times; both are (c,), of any stride."""
    follow_one(means, known, False, 1.0, rate)
    follow_one(variances, known, True, times, rate)
