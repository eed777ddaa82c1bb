# Convolution: fills ck_conv and calls it.


cdef int fill_axes(int64_t *axes, tuple sizes, int64_t leading) except -1:
    """The last len(sizes) of three axes; those before are ``leading``."""
    cdef int nd = <int>len(sizes), i
    for i in range(3):
        axes[i] = leading if i < 3 - nd else <int64_t>sizes[i - (3 - nd)]
    return 0


cdef struct Planned:
    ck.ck_conv asked  # with marks for pointers
    int op, threads, prepared
    int64_t workspace_bytes, changes
    ck.ck_panels panels

cdef int64_t plan_changes = 0  # how often plans have changed since the process began


@cython.final
cdef class Geometry:
    """One convolution's arithmetic, checked and ready for C: channels are per group, sizes one per spatial dimension.

    It remembers what its latest forward call was planned to be: to plan takes as long as the smallest convolutions do.
    """

    cdef ck.ck_conv_shape shape
    cdef int nd
    cdef Planned latest

    def __cinit__(self, n, groups, c_in, c_out, tuple in_, tuple kernel, tuple stride, tuple dilation, tuple pad_lo,
                  tuple pad_hi, tuple out, int padding_mode):
        self.nd = <int>len(in_)
        self.shape.n = n
        self.shape.groups = groups
        self.shape.c_in = c_in
        self.shape.c_out = c_out
        self.shape.padding_mode = padding_mode
        fill_axes(self.shape.in_, in_, 1)
        fill_axes(self.shape.kernel, kernel, 1)
        fill_axes(self.shape.stride, stride, 1)
        fill_axes(self.shape.dilation, dilation, 1)
        fill_axes(self.shape.pad_lo, pad_lo, 0)
        fill_axes(self.shape.pad_hi, pad_hi, 0)
        fill_axes(self.shape.out, out, 1)


cdef int64_t FARTHEST = 2**48  # between two bytes of memory


cdef inline int64_t step_along(cnp.ndarray array, int axis) noexcept:
    """The stride; of one element it may be anything, and addresses of the next ones, which are fetched, overflow."""
    cdef int64_t step = cnp.PyArray_STRIDES(array)[axis]
    return 0 if cnp.PyArray_DIMS(array)[axis] == 1 and not -FARTHEST < step < FARTHEST else step


cdef inline void set_tensor(ck.ck_tensor *tensor, cnp.ndarray array, bint channel_last) noexcept:
    """Pointer and strides as (batch, channel, depth, height, width); axes that are not there get stride 0."""
    cdef int nd = cnp.PyArray_NDIM(array) - 2, i
    tensor.data = cnp.PyArray_DATA(array)
    tensor.stride[0] = step_along(array, 0)
    tensor.stride[1] = step_along(array, nd + 1 if channel_last else 1)
    for i in range(3):
        tensor.stride[2 + i] = 0 if i < 3 - nd else step_along(array, i - (3 - nd) + (1 if channel_last else 2))


cdef inline void set_optional(ck.ck_tensor *tensor, cnp.ndarray array, bint channel_last) noexcept:
    if array is not None:
        set_tensor(tensor, array, channel_last)


cdef inline void set_call(ck.ck_conv *call, Geometry geometry, const ck.ck_kernels *kernels, int activation, double a,
                          double b, int algorithm, int threads) noexcept:
    memset(call, 0, sizeof(ck.ck_conv))
    call.shape = geometry.shape
    call.kernels = kernels
    call.algorithm = algorithm
    call.activation = activation
    call.act_a = a
    call.act_b = b
    set_run(&call.run, threads)


cdef inline void set_bias(ck.ck_conv *call, cnp.ndarray bias) noexcept:
    """Or its gradient, if there is one."""
    if bias is not None:
        call.bias = cnp.PyArray_DATA(bias)
        call.bias_stride = cnp.PyArray_STRIDES(bias)[0]


cdef int plan_conv(ck.ck_conv *call, ck.ck_conv_op op) except -1:
    """Sets the workspace, and as many threads as the caller's limit on it lets the call have; so do all others."""
    while True:
        raise_status(ck.ck_conv_workspace(call, op, &call.run.workspace_bytes))
        if fits(&call.run):
            return 0


cdef inline void *mark(void *pointer) noexcept:
    """All that a plan follows from: whether there is an array, and how it is aligned."""
    return NULL if pointer == NULL else <void *>(8 + <size_t>pointer % 8)


cdef void set_asked(Planned *plan, const ck.ck_conv *call, ck.ck_conv_op op) noexcept:
    plan.asked, plan.op, plan.changes = call[0], op, plan_changes
    plan.asked.x.data, plan.asked.y.data = mark(call.x.data), mark(call.y.data)
    plan.asked.weight.data, plan.asked.bias = mark(call.weight.data), mark(call.bias)


@cython.critical_section
cdef int recall(Geometry geometry, const Planned *plan, ck.ck_conv *call) except -1:
    """Whether the geometry's latest call was this one; the call is then planned."""
    cdef Planned *latest = &geometry.latest
    if latest.op != plan.op or latest.changes != plan.changes:
        return False
    if memcmp(&latest.asked, &plan.asked, sizeof(ck.ck_conv)) != 0:
        return False
    call.prepared, call.panels = latest.prepared, latest.panels
    call.run.threads, call.run.workspace_bytes = latest.threads, latest.workspace_bytes
    return True


@cython.critical_section
cdef int remember(Geometry geometry, Planned *plan, const ck.ck_conv *call) except -1:
    plan.prepared, plan.panels = call.prepared, call.panels
    plan.threads, plan.workspace_bytes = call.run.threads, call.run.workspace_bytes
    geometry.latest = plan[0]
    return 0


cdef int plan_forward(Geometry geometry, ck.ck_conv *call, ck.ck_conv_op op) except -1:
    """Plans a call, and says how large its panels are if its weights are prepared; no, where they are better left."""
    cdef Planned plan
    set_asked(&plan, call, op)
    if recall(geometry, &plan, call):
        return 0
    plan_conv(call, op)
    if call.prepared:
        call.panels = ck.ck_conv_panels(call, op)
        if call.panels.bytes == 0:
            call.prepared = 0
            plan_conv(call, op)
    return remember(geometry, &plan, call)


cdef int run_conv(ck.ck_conv *call, ck.ck_conv_op op) except -1:
    plan_conv(call, op)
    return run_planned(call, op)


cdef int run_planned(ck.ck_conv *call, ck.ck_conv_op op) except -1:
    cdef Buffer buffer
    cdef ck.ck_status status
    take_workspace(&buffer, &call.run)
    with nogil:
        status = ck.ck_conv_run(call, op)
    give_back(&buffer)
    return raise_status(status)


# With `transposed`, a convolution's adjoint, whose geometry is the convolution's: x, the input here, has that one's
# output size, and y its input size.


cdef void set_forward(ck.ck_conv *call, Geometry geometry, cnp.ndarray x, cnp.ndarray weight, cnp.ndarray bias,
                      cnp.ndarray y, int activation, double a, double b, bint channel_last, int algorithm,
                      bint transposed, int threads) noexcept:
    set_call(call, geometry, kernels_for(y), activation, a, b, algorithm, threads)
    set_tensor(&call.y if transposed else &call.x, x, channel_last)
    set_tensor(&call.weight, weight, False)
    set_tensor(&call.x if transposed else &call.y, y, channel_last)
    set_bias(call, bias)


def conv_forward(Geometry geometry not None, cnp.ndarray x not None, cnp.ndarray weight not None, cnp.ndarray bias,
                 cnp.ndarray y not None, int activation, double a, double b, bint channel_last, int algorithm,
                 bint transposed, int threads):
    """y = activation(conv(x, weight) + bias)."""
    cdef ck.ck_conv call
    cdef ck.ck_conv_op op = ck.CK_TRANSPOSED if transposed else ck.CK_FORWARD
    set_forward(&call, geometry, x, weight, bias, y, activation, a, b, channel_last, algorithm, transposed, threads)
    plan_forward(geometry, &call, op)
    run_planned(&call, op)


cdef inline void set_rows(ck.ck_tensor *tensor, cnp.ndarray array, int64_t rows) noexcept:
    """Rows of features side by side as one image whose pixels they are."""
    cdef int64_t item = cnp.PyArray_ITEMSIZE(array), row = item * cnp.PyArray_DIMS(array)[cnp.PyArray_NDIM(array) - 1]
    tensor.data = cnp.PyArray_DATA(array)
    tensor.stride[0], tensor.stride[1], tensor.stride[4] = rows * row, item, row


def linear_forward(Geometry geometry not None, cnp.ndarray x not None, cnp.ndarray weight not None, cnp.ndarray bias,
                   cnp.ndarray y not None, int activation, double a, double b, int threads):
    """y = activation(x @ weight.T + bias), the geometry being that of all rows in one axis; False, and nothing done,
    where those of x or y are not side by side. Views of the arrays as images would take longer than a small product.
    """
    cdef ck.ck_conv call
    if not cnp.PyArray_IS_C_CONTIGUOUS(x) or not cnp.PyArray_IS_C_CONTIGUOUS(y):
        return False
    set_call(&call, geometry, kernels_for(y), activation, a, b, ck.CK_AUTO, threads)
    set_rows(&call.x, x, geometry.shape.out[2])
    set_rows(&call.y, y, geometry.shape.out[2])
    call.weight.data = cnp.PyArray_DATA(weight)
    call.weight.stride[0], call.weight.stride[1] = cnp.PyArray_STRIDES(weight)[0], cnp.PyArray_STRIDES(weight)[1]
    call.weight.stride[4] = cnp.PyArray_ITEMSIZE(weight)
    set_bias(&call, bias)
    plan_forward(geometry, &call, ck.CK_FORWARD)
    run_planned(&call, ck.CK_FORWARD)
    return True


def conv_grad_x(Geometry geometry not None, cnp.ndarray grad not None, cnp.ndarray weight not None,
                cnp.ndarray dx not None, int activation, double a, double b, cnp.ndarray act_y, bint channel_last,
                int algorithm, bint transposed, int threads):
    """dx, the gradient of the input."""
    cdef ck.ck_conv call
    set_call(&call, geometry, kernels_for(dx), activation, a, b, algorithm, threads)
    set_tensor(&call.x if transposed else &call.y, grad, channel_last)
    set_tensor(&call.weight, weight, False)
    set_tensor(&call.y if transposed else &call.x, dx, channel_last)
    set_optional(&call.act_y, act_y, channel_last)
    run_conv(&call, ck.CK_TRANSPOSED_GRAD_X if transposed else ck.CK_GRAD_X)


def conv_grad_weight(Geometry geometry not None, cnp.ndarray grad not None, cnp.ndarray x, cnp.ndarray dw,
                     cnp.ndarray db, int activation, double a, double b, cnp.ndarray act_y, bint channel_last,
                     int algorithm, bint transposed, int threads):
    """dw and db, either of which may be None; x is not read without dw."""
    cdef ck.ck_conv call
    set_call(&call, geometry, kernels_for(grad), activation, a, b, algorithm, threads)
    set_tensor(&call.x if transposed else &call.y, grad, channel_last)
    if dw is not None:
        set_tensor(&call.y if transposed else &call.x, x, channel_last)
        set_tensor(&call.weight, dw, False)
    set_bias(&call, db)
    set_optional(&call.act_y, act_y, channel_last)
    run_conv(&call, ck.CK_TRANSPOSED_GRAD_WEIGHT if transposed else ck.CK_GRAD_WEIGHT)


def conv_explain(Geometry geometry not None, int op, cnp.ndarray x not None, cnp.ndarray weight not None,
                 cnp.ndarray y not None, bint channel_last, int algorithm, int threads):
    """What a call would do, as ck_explanation has it; x is the convolution's input, y its output, transposed or not."""
    cdef ck.ck_conv call
    set_call(&call, geometry, kernels_for(x), ck.CK_IDENTITY, 0, 0, algorithm, threads)
    set_tensor(&call.x, x, channel_last)
    set_tensor(&call.weight, weight, False)
    set_tensor(&call.y, y, channel_last)
    plan_conv(&call, <ck.ck_conv_op>op)
    return explained(&call, <ck.ck_conv_op>op)


READS = ("window", "input", "columns")  # ck_reads


cdef dict explained(const ck.ck_conv *call, ck.ck_conv_op op):
    cdef ck.ck_explanation e
    raise_status(ck.ck_conv_explain(call, op, &e))
    names = arrangements()
    return {
        "algorithm": e.algorithm,
        "arrangement": names[e.arrangement] if e.arrangement >= 0 else None,
        "reads": READS[e.reads] if e.arrangement >= 0 else None,
        "estimates": {name: e.cycles[i] for i, name in enumerate(names) if e.cycles[i] > 0},
        "estimate": e.chosen,
        "block": tuple(e.block[i] for i in range(4)),
        "channels": e.channels,
        "lanes": e.lanes,
        "threads": e.threads,
        "tasks": e.tasks,
        "workspace": e.workspace,
        "shared_weights": e.shared_weights,
        "shared_inputs": e.shared_inputs,
        "rounds": e.rounds,
        "patches": e.patches,
    }


def conv_supports(Geometry geometry not None, int algorithm):
    """Whether the algorithm can do this shape."""
    return ck.ck_conv_supports(&geometry.shape, algorithm) == ck.CK_OK


cdef void set_columns(ck.ck_conv *call, cnp.ndarray cols) noexcept:
    """cols: (n, row, position)."""
    cdef cnp.npy_intp *strides = cnp.PyArray_STRIDES(cols)
    call.y.data = cnp.PyArray_DATA(cols)
    call.y.stride[0] = strides[0]
    call.y.stride[1] = strides[1]
    call.y.stride[4] = strides[2]


def im2col(Geometry geometry not None, cnp.ndarray x not None, cnp.ndarray cols not None, bint channel_last,
           int threads):
    """cols[n, c * taps + t, o] = x[n, c, o * stride + t * dilation - pad]."""
    cdef ck.ck_conv call
    set_call(&call, geometry, kernels_for(cols), ck.CK_IDENTITY, 0, 0, 0, threads)
    set_tensor(&call.x, x, channel_last)
    set_columns(&call, cols)
    run_conv(&call, ck.CK_IM2COL_OP)


def col2im(Geometry geometry not None, cnp.ndarray cols not None, cnp.ndarray x not None, bint channel_last,
           int threads):
    """The adjoint of im2col: every column entry is added to the element that it was read from."""
    cdef ck.ck_conv call
    set_call(&call, geometry, kernels_for(cols), ck.CK_IDENTITY, 0, 0, 0, threads)
    set_tensor(&call.x, x, channel_last)
    set_columns(&call, cols)
    run_conv(&call, ck.CK_COL2IM_OP)


def arrangements():
    """Names of the engine's arrangements."""
    names = []
    while ck.ck_arrangement_name(len(names)) != NULL:
        names.append(ck.ck_arrangement_name(len(names)).decode())
    return names


def take_arrangements(*names, reads=None):
    """From now on takes only these wherever a call may have one of them; none: the cheapest. For tests and fitting."""
    global plan_changes
    cdef int wanted = 0
    for name in names:
        wanted |= 1 << arrangements().index(name)
    ck.ck_arrangements_take_only(wanted, 0 if reads is None else 1 << READS.index(reads))
    plan_changes += 1


def costs():
    """What the planner's estimates are made of: tuples of numbers by name."""
    cdef int count
    found = {}
    while ck.ck_cost_name(len(found), &count) != NULL:
        name = ck.ck_cost_name(len(found), &count).decode()
        found[name] = tuple(ck.ck_cost_at(len(found), i) for i in range(count))
    return found


def set_costs(dict values not None):
    """From now on plans with these, as costs() gives them. For fitting, in a process that does nothing else."""
    global plan_changes
    names = list(costs())
    for name, numbers in values.items():
        for i, number in enumerate(numbers):
            ck.ck_cost_set(names.index(name), i, number)
    plan_changes += 1
