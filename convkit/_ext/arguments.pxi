# Arguments as nearly all calls have them, found fit in some tens of nanoseconds; what is not goes on to Python, which
# takes more kinds and says what is wrong with the rest. And what follows from sizes, kept under a key of them.

cdef cnp.dtype FLOAT32 = np.dtype(np.float32), FLOAT64 = np.dtype(np.float64)


cdef inline bint is_plain_array(object value) noexcept:
    """Whether it is an ndarray, and no subclass of it, of one of NumPy's own two dtypes in native byte order."""
    if not cnp.PyArray_CheckExact(value):
        return False
    return (<cnp.ndarray>value).descr is FLOAT32 or (<cnp.ndarray>value).descr is FLOAT64


# ---------------------------------------------------------------- arrays

cdef object as_array_otherwise


def take_in_by(otherwise):
    """What as_array calls, with its own arguments, where it cannot tell by itself."""
    global as_array_otherwise
    as_array_otherwise = otherwise


def as_array(value, name, first=None, first_name=""):
    """`value` as a float32 or float64 ndarray, of the dtype of `first`; copied only if its byte order is foreign."""
    if is_plain_array(value) and (first is None or (<cnp.ndarray>value).descr is (<cnp.ndarray>first).descr):
        return value
    return as_array_otherwise(value, name, first, first_name)


cdef bint has_shape(cnp.ndarray array, tuple shape) except -1:
    cdef int nd = cnp.PyArray_NDIM(array), axis
    if len(shape) != nd:
        return False
    for axis in range(nd):
        if cnp.PyArray_DIMS(array)[axis] != <cnp.npy_intp>shape[axis]:
            return False
    return True


cdef void reach(cnp.ndarray array, size_t *low, size_t *high) noexcept:
    """Its bytes lie from `low` up to, but not including, `high`; there are none without elements."""
    cdef int axis
    cdef cnp.npy_intp size, length
    low[0] = high[0] = <size_t>cnp.PyArray_DATA(array)
    for axis in range(cnp.PyArray_NDIM(array)):
        size = cnp.PyArray_DIMS(array)[axis]
        if size == 0:
            high[0] = low[0]
            return
        length = (size - 1) * cnp.PyArray_STRIDES(array)[axis]
        if length < 0:
            low[0] += <size_t>length
        else:
            high[0] += <size_t>length
    high[0] += <size_t>cnp.PyArray_ITEMSIZE(array)


def fits_out(out, tuple shape not None, first, second=None, third=None):
    """Whether `out` is fit for a result of this shape and of the dtype of `first`, for sure: writable, its elements
    side by side, apart from these arrays. What does not seem so may still be: `convkit._arrays.as_out` decides.
    """
    cdef size_t low, high, other_low, other_high
    cdef cnp.ndarray array
    if not is_plain_array(out):
        return False
    array = out
    if array.descr is not (<cnp.ndarray>first).descr or not has_shape(array, shape):
        return False
    if not cnp.PyArray_IS_C_CONTIGUOUS(array) or not cnp.PyArray_ISWRITEABLE(array):
        return False
    reach(array, &low, &high)
    for other in (first, second, third):
        if other is not None:
            reach(<cnp.ndarray>other, &other_low, &other_high)
            if low < other_high and other_low < high:
                return False
    return True


# ---------------------------------------------------------------- what follows from sizes

cdef enum:
    MOST_KEPT = 1024


cdef bint plain(tuple values, int depth) except -1:
    """Whether all are ints, strings, None or tuples of such, and so may be part of a key: a bool equals an int, a list
    has no hash. Nesting beyond `depth` fits no argument.
    """
    for value in values:
        if type(value) is int or type(value) is str or value is None:
            continue
        if type(value) is not tuple or depth == 1 or not plain(value, depth - 1):
            return False
    return True


def remembered(plan, made_plain):
    """plan(*known, *given) as a function of these two tuples, which keeps what it has found; once that are a thousand,
    it begins anew.

    Those in `given` come from a caller. Where they are not plain, `made_plain` makes them so; of what then has no hash
    plan says what is wrong with it. functools.lru_cache took 0.05 us more.
    """
    cdef dict kept = {}

    def planned(tuple known not None, tuple given not None):
        """What was found for these, now or before."""
        if not plain(given, 3):
            given = made_plain(given)
            try:
                hash(given)
            except TypeError:
                return plan(*known, *given)
        key = known, given
        with cython.critical_section(kept):  # what is got is borrowed until it is counted
            found = kept.get(key)
        if found is None:
            found = plan(*known, *given)
            if len(kept) >= MOST_KEPT:
                kept.clear()
            kept[key] = found
        return found

    return planned
