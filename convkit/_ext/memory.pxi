# Memory: scratch for a call, and the arrays that results are.

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **pointer, size_t alignment, size_t size)


# ---------------------------------------------------------------- workspace

# KEPT: calls at once that find a buffer of before. With more, each would free its own, from a heap that malloc has for
# its thread: with 4, eight threads on one network took 2 MB more every 64 calls, from 205 MB to 250 after 1,500
# (ResNet-18 in four shapes, glibc 2.36).
cdef enum:
    KEPT = 16

cdef struct Buffer:
    void *data
    int64_t bytes

# Free buffers, to be used again: fresh memory costs 0.4 ms of page faults a megabyte. Guarded by the lock below.
cdef Buffer kept[KEPT]
memset(kept, 0, sizeof(kept))


@cython.critical_section
cdef int swap_buffer(object lock, Buffer *buffer, int64_t bytes) except -1:
    """Takes out the smallest kept buffer of at least ``bytes``, or the largest, for want of one; with ``bytes`` < 0
    puts one back for the smallest."""
    cdef int i, at = 0
    for i in range(1, KEPT):
        if bytes < 0:
            if kept[i].bytes < kept[at].bytes:
                at = i
        elif kept[at].bytes < bytes:
            if kept[i].bytes > kept[at].bytes:
                at = i
        elif bytes <= kept[i].bytes < kept[at].bytes:
            at = i
    if bytes >= 0 or kept[at].bytes < buffer.bytes:
        kept[at], buffer[0] = buffer[0], kept[at]
    return 0


cdef object buffers_lock = object()


cdef int take_buffer(Buffer *buffer, int64_t bytes) except -1:
    buffer.data = NULL
    buffer.bytes = 0
    if bytes == 0:
        return 0
    swap_buffer(buffers_lock, buffer, bytes)
    if buffer.bytes < bytes:  # one that grows: more are kept only where calls were under way at once
        free(buffer.data)
        buffer.data, buffer.bytes = NULL, 0
        if posix_memalign(&buffer.data, 64, <size_t>bytes) != 0:
            raise MemoryError(f"workspace of {bytes} bytes was refused")
        buffer.bytes = bytes
    return 0


cdef int take_workspace(Buffer *buffer, ck.ck_run *run) except -1:
    """What a planned call needs."""
    take_buffer(buffer, run.workspace_bytes)
    run.workspace = buffer.data
    return 0


cdef int give_back(Buffer *buffer) except -1:
    if buffer.data != NULL:
        swap_buffer(buffers_lock, buffer, -1)
        free(buffer.data)
    return 0


workspace_limit = ContextVar("convkit_workspace_limit", default=-1)  # bytes; below 0: none


cdef bint fits(ck.ck_run *run) except -1:
    """Whether the workspace is within the caller's limit; else the call is to be planned again, for fewer threads."""
    if run.limit == 0 or run.workspace_bytes <= run.limit:
        return True
    if run.threads == 1:
        limit = value_of(workspace_limit)  # a run's is at least 1
        raise MemoryError(f"the call needs a workspace of {run.workspace_bytes} bytes, over its limit of {limit}")
    run.threads = <int>max(1, min(run.threads - 1, run.threads * run.limit // run.workspace_bytes))
    return False


# ---------------------------------------------------------------- results

# Arrays own their memory, as all others do, but have it from the C library's blocks and return it there: NumPy lets a
# thread choose who allocates, and each array remembers who did.

cdef extern from "numpy/arrayobject.h":
    object PyDataMem_SetHandler(object handler)

    ctypedef struct PyDataMemAllocator:
        void *(*malloc)(void *context, size_t size) noexcept nogil
        void *(*calloc)(void *context, size_t count, size_t size) noexcept nogil
        void *(*realloc)(void *context, void *block, size_t size) noexcept nogil
        void (*free)(void *context, void *block, size_t size) noexcept nogil

    ctypedef struct PyDataMem_Handler:
        char name[127]
        unsigned char version
        PyDataMemAllocator allocator


cdef void *block_malloc(void *context, size_t size) noexcept nogil:
    return ck.ck_block_take(size)


cdef void *block_calloc(void *context, size_t count, size_t size) noexcept nogil:
    cdef void *block = NULL
    if size == 0 or count <= <size_t>-1 // size:
        block = ck.ck_block_take(count * size)
    if block != NULL:
        memset(block, 0, count * size)
    return block


cdef void *block_realloc(void *context, void *block, size_t size) noexcept nogil:
    cdef void *fresh = ck.ck_block_take(size)
    if fresh != NULL and block != NULL:
        memcpy(fresh, block, min(size, ck.ck_block_bytes(block)))
        ck.ck_block_give(block)
    return fresh


cdef void block_free(void *context, void *block, size_t size) noexcept nogil:
    ck.ck_block_give(block)


BLOCK_LEAST = ck.CK_BLOCK_LEAST

cdef PyDataMem_Handler blocks
memset(&blocks, 0, sizeof(blocks))
strcpy(blocks.name, b"convkit")
blocks.version = 1
blocks.allocator.malloc = block_malloc
blocks.allocator.calloc = block_calloc
blocks.allocator.realloc = block_realloc
blocks.allocator.free = block_free
cdef object blocks_capsule = PyCapsule_New(&blocks, b"mem_handler", NULL)

cdef enum:
    MOST_AXES = 64  # NumPy's own limit


cdef object allocated(tuple shape, cnp.dtype dtype):
    """np.empty; in a block if it is large. To choose who allocates takes 0.3 us, which small arrays are spared."""
    cdef cnp.npy_intp sizes[MOST_AXES]
    cdef int nd = <int>len(shape), axis
    cdef double bytes = cnp.PyDataType_ELSIZE(dtype)
    for axis in range(nd):
        sizes[axis] = shape[axis]
        bytes *= <double>sizes[axis]
    if bytes < ck.CK_BLOCK_LEAST:
        return cnp.PyArray_EMPTY(nd, sizes, dtype.type_num, 0)
    before = PyDataMem_SetHandler(blocks_capsule)
    try:
        return cnp.PyArray_EMPTY(nd, sizes, dtype.type_num, 0)
    finally:
        PyDataMem_SetHandler(before)


def empty(tuple shape not None, cnp.dtype dtype not None):
    """np.empty, in memory that may have been kept; where it is refused, a MemoryError that says how many bytes."""
    if len(shape) > MOST_AXES:
        raise ValueError(f"shape must have at most {<int>MOST_AXES} axes, got {len(shape)}")
    try:
        return allocated(shape, dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more bytes than an address can count
        size = prod(shape) * dtype.itemsize
        raise MemoryError(f"cannot allocate {size} bytes for a {dtype} array of shape {shape}") from error


def set_cache_limit(int64_t bytes):
    """How many bytes of freed results are kept."""
    with nogil:
        ck.ck_blocks_limit(bytes)


def clear_cache():
    """Keeps none of those that are kept now."""
    with nogil:
        ck.ck_blocks_clear()


def cached_bytes():
    """How many are kept now."""
    return ck.ck_blocks_kept()
