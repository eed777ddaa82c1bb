# interpolate: fills ck_resize and calls it.


@cython.final
cdef class ResizeGeometry:
    """Sizes of one interpolation, checked, and where its outputs lie: what ck_resize says, one entry per axis.

    `whole` and `first`, of input and output each, are for parts of images.
    """

    cdef ck.ck_resize call

    def __cinit__(self, n, channels, tuple in_, tuple out, int sampling, bint antialias, tuple times, tuple over,
                  double before, double after, tuple whole=None, tuple first=None):
        cdef int nd = <int>len(in_), i
        memset(&self.call, 0, sizeof(ck.ck_resize))
        self.call.n = n
        self.call.channels = channels
        fill_axes(self.call.in_, in_, 1)
        fill_axes(self.call.out, out, 1)
        fill_axes(self.call.whole_in, in_ if whole is None else whole[0], 1)
        fill_axes(self.call.whole_out, out if whole is None else whole[1], 1)
        if first is not None:
            fill_axes(self.call.first_in, first[0], 0)
            fill_axes(self.call.first_out, first[1], 0)
        self.call.sampling = sampling
        self.call.antialias = antialias
        self.call.before = before
        self.call.after = after
        for i in range(3):
            self.call.times[i] = 1 if i < 3 - nd else <double>times[i - (3 - nd)]
            self.call.over[i] = 1 if i < 3 - nd else <double>over[i - (3 - nd)]


cdef int plan_resize(ck.ck_resize *call, ck.ck_resize_op op) except -1:
    while True:
        raise_status(ck.ck_resize_workspace(call, op, &call.run.workspace_bytes))
        if fits(&call.run):
            return 0


def resize(ResizeGeometry geometry not None, cnp.ndarray x not None, cnp.ndarray y not None, bint backward,
           bint channel_last, int threads):
    """y from x, or, backward, x, the gradient of the input, from y, that of the output."""
    cdef ck.ck_resize call = geometry.call
    cdef ck.ck_resize_op op = ck.CK_RESIZE_GRAD_X if backward else ck.CK_RESIZE
    cdef Buffer buffer
    cdef ck.ck_status status
    call.kernels = kernels_for(x)
    set_run(&call.run, threads)
    set_tensor(&call.x, x, channel_last)
    set_tensor(&call.y, y, channel_last)
    plan_resize(&call, op)
    take_workspace(&buffer, &call.run)
    with nogil:
        status = ck.ck_resize_run(&call, op)
    give_back(&buffer)
    return raise_status(status)
