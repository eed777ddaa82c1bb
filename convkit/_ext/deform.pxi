# Deformable convolution: convolution's call, and where it samples.


cdef int plan_deform(ck.ck_deform *call, int backward) except -1:
    while True:
        raise_status(ck.ck_deform_workspace(call, backward, &call.conv.run.workspace_bytes))
        if fits(&call.conv.run):
            return 0


cdef int run_deform(ck.ck_deform *call, int backward) except -1:
    cdef Buffer buffer
    cdef ck.ck_status status
    plan_deform(call, backward)
    take_workspace(&buffer, &call.conv.run)
    with nogil:
        status = ck.ck_deform_run(call, backward)
    give_back(&buffer)
    return raise_status(status)


cdef void set_deform(ck.ck_deform *call, Geometry geometry, offset_groups, cnp.ndarray offset, cnp.ndarray mask,
                     bint channel_last) noexcept:
    call.nd = geometry.nd
    call.offset_groups = offset_groups
    set_optional(&call.offset, offset, channel_last)
    set_optional(&call.mask, mask, channel_last)


def deform_forward(Geometry geometry not None, offset_groups, cnp.ndarray x not None, cnp.ndarray offset not None,
                   cnp.ndarray mask, cnp.ndarray weight not None, cnp.ndarray bias, cnp.ndarray y not None,
                   int activation, double a, double b, bint channel_last, int threads):
    """y = activation(deform_conv(x, offset, mask, weight) + bias)."""
    cdef ck.ck_deform call
    memset(&call, 0, sizeof(call))
    set_call(&call.conv, geometry, kernels_for(y), activation, a, b, 0, threads)
    set_deform(&call, geometry, offset_groups, offset, mask, channel_last)
    set_tensor(&call.conv.x, x, channel_last)
    set_tensor(&call.conv.weight, weight, False)
    set_tensor(&call.conv.y, y, channel_last)
    set_bias(&call.conv, bias)
    run_deform(&call, 0)


def deform_backward(Geometry geometry not None, offset_groups, cnp.ndarray grad not None, cnp.ndarray x,
                    cnp.ndarray offset, cnp.ndarray mask, cnp.ndarray weight, cnp.ndarray act_y, cnp.ndarray dx,
                    cnp.ndarray d_offset, cnp.ndarray d_mask, cnp.ndarray d_weight, cnp.ndarray d_bias,
                    int activation, double a, double b, bint channel_last, int threads):
    """Those gradients whose arrays are given; what they do not need may be None."""
    cdef ck.ck_deform call
    memset(&call, 0, sizeof(call))
    set_call(&call.conv, geometry, kernels_for(grad), activation, a, b, 0, threads)
    set_deform(&call, geometry, offset_groups, offset, mask, channel_last)
    set_optional(&call.conv.x, x, channel_last)
    set_optional(&call.conv.weight, weight, False)
    set_tensor(&call.conv.y, grad, channel_last)
    set_optional(&call.conv.act_y, act_y, channel_last)
    set_optional(&call.dx, dx, channel_last)
    set_optional(&call.d_offset, d_offset, channel_last)
    set_optional(&call.d_mask, d_mask, channel_last)
    set_optional(&call.d_weight, d_weight, False)
    set_bias(&call.conv, d_bias)
    run_deform(&call, 1)
