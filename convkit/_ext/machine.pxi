# The machine: instruction sets, threads, measured peaks.


def isa():
    """The instruction set in force."""
    return ck.ck_isa_name(ck.ck_isa_current()).decode()


def built_isas():
    """Those that were built in, in rising order."""
    return tuple([ck.ck_isa_name(i).decode() for i in range(ck.CK_ISAS) if ck.ck_isa_built(i)])


def available_isas():
    """Those that are built in and that CPU and operating system offer, in rising order."""
    return tuple(ck.ck_isa_name(i).decode() for i in range(ck.CK_ISAS) if ck.ck_isa_available(i))


cdef int isa_number(str name) except -1:
    """The number of one of available_isas()."""
    for i in range(ck.CK_ISAS):
        if ck.ck_isa_name(i).decode() == name and ck.ck_isa_available(i):
            return i
    raise ValueError(f"isa must be one of {', '.join(available_isas())}, got {name!r}")


def set_isa(str name not None):
    """Chooses one of available_isas()."""
    ck.ck_isa_set(isa_number(name))


def isa_from_cpu(leaf1_ecx, leaf7_ebx, xcr0):
    """What the dispatcher would choose on a machine that says this of itself."""
    cdef ck.ck_cpu cpu
    cpu.leaf1_ecx = leaf1_ecx
    cpu.leaf7_ebx = leaf7_ebx
    cpu.xcr0 = xcr0
    return ck.ck_isa_name(ck.ck_isa_from_cpu(cpu)).decode()


def compiler():
    """What compiled the library, such as "gcc 12.2.0"."""
    return ck.ck_compiler().decode()


def current_threading():
    """Who runs the threads of every call: pool or openmp."""
    return ck.ck_threading_name(ck.ck_threading_current()).decode()


def built_threadings():
    """Those that were built in."""
    return tuple([ck.ck_threading_name(i).decode() for i in range(ck.CK_THREADINGS) if ck.ck_threading_built(i)])


def set_threading(str name not None):
    """Chooses one of built_threadings() for every call from now on."""
    for i in range(ck.CK_THREADINGS):
        if ck.ck_threading_name(i).decode() == name and ck.ck_threading_set(i) == 0:
            return
    raise ValueError(f"threading must be one of {', '.join(built_threadings())}, got {name!r}")


def after_fork():
    """True in a forked child."""
    return ck.ck_after_fork() != 0


def measure_fma(str dtype not None, int threads, double seconds):
    """Multiply-add rate in FLOP/s of the current instruction set."""
    cdef int code = ck.CK_F32 if dtype == "float32" else ck.CK_F64
    cdef double rate
    with nogil:
        rate = ck.ck_measure_fma(code, threads, seconds)
    return rate


def fma_per_cycle():
    """Multiply-adds of vectors that a core begins in a cycle, as the planner has timed it: 1 or 2."""
    return ck.ck_fma_per_cycle(ck.ck_kernels_for(ck.CK_F32))


def measure_triad(int64_t bytes_per_array, int threads, double seconds):
    """Bytes/s of a = b + s * c over three arrays of this size."""
    cdef Buffer buffer
    cdef double rate
    take_buffer(&buffer, 3 * bytes_per_array)
    with nogil:
        rate = ck.ck_measure_triad(buffer.data, bytes_per_array, threads, seconds)
    free(buffer.data)
    return rate
