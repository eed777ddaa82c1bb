# grid_sample: fills ck_grid_sample and calls it.


@cython.final
cdef class GridGeometry:
    """Sizes and options of one grid_sample, checked."""

    cdef ck.ck_grid_sample call

    def __cinit__(self, n, channels, tuple in_, tuple out, int sampling, int border, bint align_corners):
        memset(&self.call, 0, sizeof(ck.ck_grid_sample))
        self.call.n = n
        self.call.channels = channels
        fill_axes(self.call.in_, in_, 1)
        fill_axes(self.call.out, out, 1)
        self.call.axes = <int>len(in_)
        self.call.sampling = sampling
        self.call.border = border
        self.call.align_corners = align_corners


cdef int plan_grid(ck.ck_grid_sample *call, ck.ck_grid_op op) except -1:
    while True:
        raise_status(ck.ck_grid_workspace(call, op, &call.run.workspace_bytes))
        if fits(&call.run):
            return 0


cdef int run_grid(ck.ck_grid_sample *call, ck.ck_grid_op op) except -1:
    cdef Buffer buffer
    cdef ck.ck_status status
    plan_grid(call, op)
    take_workspace(&buffer, &call.run)
    with nogil:
        status = ck.ck_grid_run(call, op)
    give_back(&buffer)
    return raise_status(status)


cdef inline void set_grid_call(ck.ck_grid_sample *call, GridGeometry geometry, cnp.ndarray y, cnp.ndarray grid,
                               bint channel_last, int threads) noexcept:
    call[0] = geometry.call
    call.kernels = kernels_for(y)
    set_run(&call.run, threads)
    set_tensor(&call.y, y, channel_last)
    set_tensor(&call.grid, grid, True)


def grid_forward(GridGeometry geometry not None, cnp.ndarray x not None, cnp.ndarray grid not None,
                 cnp.ndarray y not None, bint channel_last, int threads):
    """y, the samples of x at the places in grid."""
    cdef ck.ck_grid_sample call
    set_grid_call(&call, geometry, y, grid, channel_last, threads)
    set_tensor(&call.x, x, channel_last)
    run_grid(&call, ck.CK_GRID_SAMPLE)


def grid_grad_x(GridGeometry geometry not None, cnp.ndarray grad not None, cnp.ndarray grid not None,
                cnp.ndarray dx not None, bint channel_last, int threads):
    """dx, the gradient of the input."""
    cdef ck.ck_grid_sample call
    set_grid_call(&call, geometry, grad, grid, channel_last, threads)
    set_tensor(&call.x, dx, channel_last)
    run_grid(&call, ck.CK_GRID_GRAD_X)


def grid_grad_grid(GridGeometry geometry not None, cnp.ndarray grad not None, cnp.ndarray x not None,
                   cnp.ndarray grid not None, cnp.ndarray dgrid not None, bint channel_last, int threads):
    """dgrid, the gradient of the grid."""
    cdef ck.ck_grid_sample call
    set_grid_call(&call, geometry, grad, grid, channel_last, threads)
    set_tensor(&call.x, x, channel_last)
    set_tensor(&call.grad_grid, dgrid, True)
    run_grid(&call, ck.CK_GRID_GRAD_GRID)
