# Pooling: fills ck_pool and calls it.

cdef struct PooledBefore:
    ck.ck_pool asked  # with marks for pointers; at first all zeros, as no call is
    ck.ck_pool_op op
    int threads
    int64_t workspace_bytes


@cython.final
cdef class PoolGeometry:
    """One pooling's arithmetic, checked and ready for C; sizes one per spatial dimension. Without a kernel the windows
    are adaptive, or there are none."""

    cdef ck.ck_pool_shape shape
    cdef PooledBefore latest

    def __cinit__(self, n, channels, tuple in_, tuple out, tuple kernel=None, tuple stride=None, tuple dilation=None,
                  tuple pad_lo=None, tuple pad_hi=None, bint count_pad=False):
        self.shape.n = n
        self.shape.channels = channels
        fill_axes(self.shape.in_, in_, 1)
        fill_axes(self.shape.out, out, 1)
        self.shape.adaptive = kernel is None
        self.shape.count_pad = count_pad
        if kernel is not None:
            fill_axes(self.shape.kernel, kernel, 1)
            fill_axes(self.shape.stride, stride, 1)
            fill_axes(self.shape.dilation, dilation, 1)
            fill_axes(self.shape.pad_lo, pad_lo, 0)
            fill_axes(self.shape.pad_hi, pad_hi, 0)


cdef int plan_pool(ck.ck_pool *call, ck.ck_pool_op op) except -1:
    while True:
        raise_status(ck.ck_pool_workspace(call, op, &call.run.workspace_bytes))
        if fits(&call.run):
            return 0


@cython.critical_section
cdef int recall_pool(PoolGeometry geometry, ck.ck_pool *call, ck.ck_pool_op op) except -1:
    """Plans a call, or takes the plan of the geometry's latest one if that asked for the same. To plan a small call
    takes a sixth of its time."""
    cdef PooledBefore *latest = &geometry.latest
    cdef ck.ck_pool asked = call[0]
    asked.x.data, asked.y.data, asked.indices.data = mark(call.x.data), mark(call.y.data), mark(call.indices.data)
    if latest.op == op and memcmp(&latest.asked, &asked, sizeof(ck.ck_pool)) == 0:
        call.run.threads, call.run.workspace_bytes = latest.threads, latest.workspace_bytes
        return 0
    plan_pool(call, op)
    latest.asked, latest.op = asked, op
    latest.threads, latest.workspace_bytes = call.run.threads, call.run.workspace_bytes
    return 0


def pool(PoolGeometry geometry not None, int op, cnp.ndarray x, cnp.ndarray y, cnp.ndarray indices, bint channel_last,
         int threads):
    """Runs one ck_pool_op; arrays that it has no use for may be None. Returns whether all indices lay inside."""
    cdef ck.ck_pool call
    cdef Buffer buffer
    cdef ck.ck_status status
    memset(&call, 0, sizeof(ck.ck_pool))
    call.shape = geometry.shape
    call.kernels = kernels_for(x if x is not None else indices)
    set_optional(&call.x, x, channel_last)
    set_optional(&call.y, y, channel_last)
    set_optional(&call.indices, indices, channel_last)
    set_run(&call.run, threads)
    recall_pool(geometry, &call, <ck.ck_pool_op>op)
    take_workspace(&buffer, &call.run)
    with nogil:
        status = ck.ck_pool_run(&call, <ck.ck_pool_op>op)
    give_back(&buffer)
    if status == ck.CK_BAD_INDEX:
        return False
    raise_status(status)
    return True
