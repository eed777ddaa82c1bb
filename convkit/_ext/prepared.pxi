# Weights laid out once for every image to come.


@cython.final
cdef class Panels:
    """The weights of a forward pass as its plans take them: each form is made at the first call that needs it."""

    cdef dict forms
    cdef object lock

    def __cinit__(self):
        self.forms = {}
        self.lock = Lock()

    cdef object fetch(self, Geometry geometry, ck.ck_conv *call, ck.ck_conv_op op):
        """The array that holds what the call takes, or None; sets the call's panels, and leaves it planned."""
        call.prepared = 1
        plan_forward(geometry, call, op)
        if not call.prepared:
            return None
        key = (<size_t>call.kernels, call.panels.kind)
        form = self.forms.get(key)
        if form is None:
            with self.lock:
                form = self.forms.get(key)
                if form is None:
                    form = self.forms[key] = pack(call, op)
        call.panels.data = aligned(form)
        return form


cdef void *aligned(cnp.ndarray form) noexcept:
    return <void *>((<size_t>cnp.PyArray_DATA(form) + 63) & ~<size_t>63)


cdef object pack(ck.ck_conv *call, ck.ck_conv_op op):
    cdef Buffer buffer
    cdef void *panels
    form = np.empty(call.panels.bytes + 64, np.uint8)
    panels = aligned(form)
    take_workspace(&buffer, &call.run)
    with nogil:
        ck.ck_conv_pack(call, op, panels)
    give_back(&buffer)
    return form


def prepared_forward(Panels panels not None, Geometry geometry not None, cnp.ndarray x not None,
                     cnp.ndarray weight not None, cnp.ndarray bias, cnp.ndarray y not None, bint add, int activation,
                     double a, double b, bint channel_last, int algorithm, bint transposed, int threads):
    """As conv_forward, with `weight` laid out; with `add`, y holds what is added."""
    cdef ck.ck_conv call
    cdef ck.ck_conv_op op = ck.CK_TRANSPOSED if transposed else ck.CK_FORWARD
    set_forward(&call, geometry, x, weight, bias, y, activation, a, b, channel_last, algorithm, transposed, threads)
    call.add = add
    form = panels.fetch(geometry, &call, op)
    run_planned(&call, op)
    return form is not None
