# Programs: calls whose arrays lie in memory that each run brings.

# A spot says where an array lies: (base, offset, strides), the strides one for each of its axes, in bytes. Where a call
# takes an array as it is, a spot may also be an ndarray, which the program keeps.

cdef void *ANYWHERE = <void *>64  # while a call is planned, its arrays are nowhere yet, but aligned


@cython.final
cdef class Program:
    """Calls of the engine in turn, without the interpreter's lock, all with the kernels of one of available_isas().

    `workspace` is what the largest needs, in bytes.
    """

    cdef ck.ck_step *steps
    cdef Py_ssize_t room
    cdef readonly Py_ssize_t count
    cdef readonly int64_t workspace
    cdef readonly int threads
    cdef readonly str isa
    cdef Py_ssize_t turning  # the step whose turns the next `left` steps are
    cdef int left
    cdef list kept
    cdef const ck.ck_kernels *f32
    cdef const ck.ck_kernels *f64

    def __cinit__(self, int threads, str isa):
        number = isa_number(isa)
        self.threads, self.isa = threads, isa
        self.f32, self.f64 = ck.ck_kernels_of(number, ck.CK_F32), ck.ck_kernels_of(number, ck.CK_F64)
        self.kept = []

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            free(<void *>self.steps[i].call)
        free(self.steps)

    cdef const ck.ck_kernels *kernels(self, int item) noexcept:
        """Those for elements of so many bytes."""
        return self.f32 if item == 4 else self.f64

    cdef ck.ck_step *begin(self, int kind, int op, const void *call, size_t size, ck.ck_run *run) except NULL:
        """One more step, without places yet."""
        cdef void *room
        cdef ck.ck_step *step
        if self.count == self.room:
            room = realloc(self.steps, (self.room + 64) * sizeof(ck.ck_step))
            if room == NULL:
                raise MemoryError("a program's steps were refused")
            self.steps = <ck.ck_step *>room
            self.room += 64
        room = malloc(size)
        if room == NULL:
            raise MemoryError("a program's step was refused")
        memcpy(room, call, size)
        step = &self.steps[self.count]
        memset(step, 0, sizeof(ck.ck_step))
        step.kind, step.op, step.call = kind, op, room
        self.count += 1
        if self.left:
            self.left -= 1
            self.make_room(run)
        else:
            self.workspace = max(self.workspace, run.workspace_bytes)
        return step

    cdef void make_room(self, const ck.ck_run *run) noexcept:
        """For one more call of the turns; side by side on all threads, or as many as their limit allows memory for."""
        cdef ck.ck_step *step = &self.steps[self.turning]
        cdef int64_t threads = self.threads, each
        step.workspace = max(step.workspace, (run.workspace_bytes + 63) // 64 * 64)
        each = step.room + step.workspace
        if run.limit and each:
            threads = max(1, min(threads, (run.limit + step.room) // each))
        step.apart = <int>threads if step.apart else 0
        self.workspace = max(self.workspace, max(step.apart, 1) * each)

    cdef void set_own_run(self, ck.ck_run *run) noexcept:
        """Threads and limit of a call: what is left of the limit beside the room of a turn."""
        cdef const ck.ck_step *step = &self.steps[self.turning]
        set_run(run, 1 if self.left and step.apart else self.threads)
        if self.left and run.limit:
            run.limit = max(1, (run.limit - step.room) // 64 * 64)

    def turns(self, tuple sizes, int steps, bint apart, int64_t room):
        """The next so many steps are run in turn, once for each place along axes of these sizes, `moving` their places.

        Turns have this much room. Those that are apart run side by side, by one thread each.
        """
        cdef ck.ck_run none
        cdef ck.ck_step *step
        cdef int i, first = TURN_AXES - <int>len(sizes)
        cdef int64_t times = 1
        for size in sizes:
            times *= size
        if times == 1 and not room:
            return
        memset(&none, 0, sizeof(none))
        step = self.begin(ck.CK_STEP_TURNS, 0, &none, 1, &none)
        step.behind, step.times, step.apart, step.room = steps, times, apart, (room + 63) // 64 * 64
        for i in range(TURN_AXES):
            step.size[i] = sizes[i - first] if i >= first else 1
        self.turning, self.left = self.count - 1, steps

    def moving(self, *steps):
        """With every turn the latest step's places move on by these bytes along each axis of the turns; None: they stay.
        """
        cdef ck.ck_step *step = &self.steps[self.count - 1]
        cdef int i, j, first
        for i in range(step.places):
            if steps[i] is not None:
                first = TURN_AXES - <int>len(steps[i])
                for j in range(first, TURN_AXES):
                    step.place[i].step[j] = steps[i][j - first]

    def fixed(self, cnp.ndarray array not None):
        """The place of an array, which the program keeps, as one that turns may move on."""
        self.kept.append(array)
        return FIXED, <int64_t>cnp.PyArray_DATA(array), (<object>array).strides, cnp.PyArray_ITEMSIZE(array)

    cdef int place(self, ck.ck_step *step, const void *call, void **pointer, spot) except -1:
        """Says where the pointer, a field of the call, leads to; nowhere for None."""
        cdef ck.ck_place *place
        if spot is None:
            return 0
        if isinstance(spot, np.ndarray):
            self.kept.append(spot)
            (<void **>(<char *>step.call + (<char *>pointer - <char *>call)))[0] = cnp.PyArray_DATA(spot)
            return 0
        place = &step.place[step.places]
        place.field = <int>(<char *>pointer - <char *>call)
        place.base, place.offset = spot[0], spot[1]
        step.places += 1
        return 0

    def conv(self, Geometry geometry not None, bint transposed, x, weight, cnp.ndarray bias, y, bint add,
             tuple activation, int algorithm, Panels panels):
        """conv_forward; with `add`, y holds what is added. The weight may lie ready, in panels."""
        cdef ck.ck_conv call
        cdef ck.ck_conv_op op = ck.CK_TRANSPOSED if transposed else ck.CK_FORWARD
        cdef ck.ck_tensor *source = &call.y if transposed else &call.x
        cdef ck.ck_tensor *result = &call.x if transposed else &call.y
        cdef ck.ck_step *step
        code, a, b = activation
        set_call(&call, geometry, self.kernels(dtype_size(weight)), code, a, b, algorithm, self.threads)
        self.set_own_run(&call.run)
        set_spot_tensor(source, x)
        set_spot_tensor(&call.weight, weight)
        set_spot_tensor(result, y)
        set_bias(&call, bias)
        self.kept.append(bias)
        call.add = add
        if panels is None:
            plan_conv(&call, op)
        else:
            self.kept.append(panels.fetch(geometry, &call, op))
        step = self.begin(ck.CK_STEP_CONV, op, &call, sizeof(call), &call.run)
        self.place(step, &call, &source.data, x)
        self.place(step, &call, &result.data, y)
        self.place(step, &call, &call.weight.data, weight)

    def deform(self, Geometry geometry not None, offset_groups, x, offset, mask, weight, cnp.ndarray bias, y,
               tuple activation):
        """deform_forward."""
        cdef ck.ck_deform call
        cdef ck.ck_step *step
        memset(&call, 0, sizeof(call))
        code, a, b = activation
        set_call(&call.conv, geometry, self.kernels(dtype_size(weight)), code, a, b, 0, self.threads)
        self.set_own_run(&call.conv.run)
        call.nd, call.offset_groups = geometry.nd, offset_groups
        set_spot_tensor(&call.conv.x, x)
        set_spot_tensor(&call.conv.y, y)
        set_spot_tensor(&call.conv.weight, weight)
        set_spot_tensor(&call.offset, offset)
        if mask is not None:
            set_spot_tensor(&call.mask, mask)
        set_bias(&call.conv, bias)
        self.kept.append(bias)
        plan_deform(&call, 0)
        step = self.begin(ck.CK_STEP_DEFORM, 0, &call, sizeof(call), &call.conv.run)
        self.place(step, &call, &call.conv.x.data, x)
        self.place(step, &call, &call.conv.y.data, y)
        self.place(step, &call, &call.conv.weight.data, weight)
        self.place(step, &call, &call.offset.data, offset)
        self.place(step, &call, &call.mask.data, mask)

    def pool(self, PoolGeometry geometry not None, int op, int item, x, y, indices):
        """One ck_pool_op of arrays of items of this size."""
        cdef ck.ck_pool call
        cdef ck.ck_step *step
        memset(&call, 0, sizeof(call))
        call.shape = geometry.shape
        call.kernels = self.kernels(item)
        set_spot_tensor(&call.x, x)
        set_spot_tensor(&call.y, y)
        if indices is not None:
            set_spot_tensor(&call.indices, indices)
        self.set_own_run(&call.run)
        plan_pool(&call, <ck.ck_pool_op>op)
        step = self.begin(ck.CK_STEP_POOL, op, &call, sizeof(call), &call.run)
        self.place(step, &call, &call.x.data, x)
        self.place(step, &call, &call.y.data, y)
        self.place(step, &call, &call.indices.data, indices)

    def resize(self, ResizeGeometry geometry not None, int item, x, y):
        """y from x."""
        cdef ck.ck_resize call = geometry.call
        cdef ck.ck_step *step
        call.kernels = self.kernels(item)
        set_spot_tensor(&call.x, x)
        set_spot_tensor(&call.y, y)
        self.set_own_run(&call.run)
        plan_resize(&call, ck.CK_RESIZE)
        step = self.begin(ck.CK_STEP_RESIZE, ck.CK_RESIZE, &call, sizeof(call), &call.run)
        self.place(step, &call, &call.x.data, x)
        self.place(step, &call, &call.y.data, y)

    def grid(self, GridGeometry geometry not None, int item, x, grid, y):
        """y, the samples of x at the places in grid, whose last axis is the coordinates."""
        cdef ck.ck_grid_sample call = geometry.call
        cdef ck.ck_step *step
        call.kernels = self.kernels(item)
        base, offset, strides = grid[:3]
        last = len(strides) - 1  # indices are not wrapped around here
        grid = base, offset, (strides[0], strides[last], *strides[1:last])
        set_spot_tensor(&call.x, x)
        set_spot_tensor(&call.grid, grid)
        set_spot_tensor(&call.y, y)
        self.set_own_run(&call.run)
        plan_grid(&call, ck.CK_GRID_SAMPLE)
        step = self.begin(ck.CK_STEP_GRID, ck.CK_GRID_SAMPLE, &call, sizeof(call), &call.run)
        self.place(step, &call, &call.x.data, x)
        self.place(step, &call, &call.grid.data, grid)
        self.place(step, &call, &call.y.data, y)

    def elementwise(self, int op, int item, tuple shape, y, a, b, tuple activation):
        """y = activation(a op b) over axes of these sizes, of which each array has all."""
        cdef ck.ck_elementwise call
        cdef ck.ck_step *step
        cdef int i
        memset(&call, 0, sizeof(call))
        call.op = <ck.ck_element_op>op
        call.axes = <int>len(shape)
        for i in range(call.axes):
            call.size[i] = shape[i]
        call.kernels = self.kernels(item)
        set_spot_strided(&call.y, y)
        set_spot_strided(&call.a, a)
        if b is not None:
            set_spot_strided(&call.b, b)
        call.activation, call.act_a, call.act_b = activation
        self.set_own_run(&call.run)
        step = self.begin(ck.CK_STEP_ELEMENTWISE, op, &call, sizeof(call), &call.run)
        self.place(step, &call, &call.y.data, y)
        self.place(step, &call, &call.a.data, a)
        self.place(step, &call, &call.b.data, b)

    def channels(self, int item, tuple shape, x, y, bint lanes, tuple numbers):
        """y, (n, c, l), an affine map of each channel of x; the numbers are adjacent, (c,) each."""
        cdef ck.ck_channels call
        cdef ck.ck_step *step
        cdef int i
        memset(&call, 0, sizeof(call))
        call.n, call.c, call.l = shape
        call.lanes, call.cuts = lanes, 1
        call.kernels = self.kernels(item)
        set_spot_strided(&call.x, x)
        set_spot_strided(&call.y, y)
        for i in range(len(numbers)):
            call.numbers[i] = cnp.PyArray_DATA(numbers[i])
        self.kept.append(numbers)
        self.set_own_run(&call.run)
        plan_channels(&call)
        step = self.begin(ck.CK_STEP_CHANNELS, 0, &call, sizeof(call), &call.run)
        self.place(step, &call, &call.x.data, x)
        self.place(step, &call, &call.y.data, y)

    def normal(self, int item, tuple shape, x, y, int pieces, int cuts, cnp.ndarray weight not None,
               cnp.ndarray bias not None, double epsilon):
        """y, (n, c, l), float32: so many adjacent channels of x standard together, times weight, plus bias, (c,)."""
        cdef ck.ck_normal call
        cdef ck.ck_step *step
        memset(&call, 0, sizeof(call))
        call.arrays.n, call.arrays.c, call.arrays.l = shape
        call.arrays.cuts = cuts
        call.arrays.kernels = self.kernels(item)
        set_spot_strided(&call.arrays.x, x)
        set_spot_strided(&call.arrays.y, y)
        call.pieces, call.channels, call.apart = pieces, call.arrays.c // pieces, True
        call.weight, call.bias, call.epsilon = data_of(weight), data_of(bias), epsilon
        self.kept += [weight, bias]
        self.set_own_run(&call.arrays.run)
        plan_normal(&call)
        step = self.begin(ck.CK_STEP_NORMAL, 0, &call, sizeof(call), &call.arrays.run)
        self.place(step, &call, &call.arrays.x.data, x)
        self.place(step, &call, &call.arrays.y.data, y)

    def rows(self, int op, int item, tuple shape, x, y, cnp.ndarray scale, cnp.ndarray bias, double epsilon,
             double factor, double least, tuple neighbours):
        """y, (n, c, l), of the n * l rows of x what a ck_row_op says; scale and bias are adjacent, (c,), or None.

        `neighbours`: before, after and quarters of a CK_RESPONSE, or nothing.
        """
        cdef ck.ck_rows call
        cdef ck.ck_step *step
        memset(&call, 0, sizeof(call))
        call.op = <ck.ck_row_op>op
        call.n, call.c, call.l = shape
        call.kernels = self.kernels(item)
        set_spot_strided(&call.x, x)
        set_spot_strided(&call.y, y)
        call.scale, call.bias = data_of(scale), data_of(bias)
        self.kept += [scale, bias]
        call.epsilon, call.factor, call.least = epsilon, factor, least
        if neighbours:
            call.before, call.after, call.quarters = neighbours
        self.set_own_run(&call.run)
        step = self.begin(ck.CK_STEP_ROWS, op, &call, sizeof(call), &call.run)
        self.place(step, &call, &call.x.data, x)
        self.place(step, &call, &call.y.data, y)

    def run(self, Py_ssize_t first, Py_ssize_t end, list bases not None, cnp.ndarray seconds):
        """Steps first to end - 1, on these arrays; `seconds`, float64, gets how long each took."""
        cdef ck.ck_run run
        cdef Buffer buffer
        cdef ck.ck_status status
        cdef double *times = NULL
        cdef Py_ssize_t i
        cdef cnp.ndarray base
        cdef char **data = <char **>malloc(max(len(bases), 1) * sizeof(char *))
        if data == NULL:
            raise MemoryError("a program's bases were refused")
        try:
            for i, base in enumerate(bases):
                data[i] = <char *>cnp.PyArray_DATA(base)
            if seconds is not None:
                times = <double *>cnp.PyArray_DATA(seconds) + first
            memset(&run, 0, sizeof(run))
            set_run(&run, self.threads)
            take_buffer(&buffer, self.workspace)
            run.workspace, run.workspace_bytes = buffer.data, self.workspace
            with nogil:
                status = ck.ck_program_run(self.steps + first, end - first, data, &run, times)
            give_back(&buffer)
            raise_status(status)
        finally:
            free(data)

    def explain(self, Py_ssize_t index):
        """What a convolution's step would do, as `conv_explain` has it."""
        cdef Py_ssize_t given = index
        cdef const ck.ck_step *step = &self.steps[index]
        if step.kind != ck.CK_STEP_CONV:
            return None
        told = explained(<const ck.ck_conv *>step.call, <ck.ck_conv_op>step.op)
        while index > 0:
            index -= 1
            if self.steps[index].kind == ck.CK_STEP_TURNS:
                if self.steps[index].apart and index + self.steps[index].behind >= given:
                    told["threads"] = self.steps[index].apart
                break
        return told


cdef int dtype_size(spot) except -1:
    """Bytes of an element: a spot of something that is not there yet has them last."""
    return cnp.PyArray_ITEMSIZE(spot) if isinstance(spot, np.ndarray) else spot[3]


cdef int set_spot_tensor(ck.ck_tensor *tensor, spot) except -1:
    """(batch, channel, *spatial) strides; axes that are not there get stride 0."""
    if isinstance(spot, np.ndarray):
        set_tensor(tensor, spot, False)
        return 0
    strides = spot[2]
    cdef int nd = <int>len(strides) - 2, i
    tensor.data = ANYWHERE
    tensor.stride[0], tensor.stride[1] = strides[0], strides[1]
    for i in range(3):
        tensor.stride[2 + i] = 0 if i < 3 - nd else <int64_t>strides[2 + i - (3 - nd)]
    return 0


cdef int set_spot_strided(ck.ck_strided *to, spot) except -1:
    if isinstance(spot, np.ndarray):
        set_strided(to, spot)
        return 0
    cdef int i
    to.data = ANYWHERE
    for i in range(len(spot[2])):
        to.stride[i] = spot[2][i]
    return 0
