# Arguments as nearly all calls have them, found fit in some tens of nanoseconds; what is not goes on to Python, which
# takes more kinds and says what is wrong with the rest. And what follows from sizes, kept under a key of them.

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) noexcept

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
    """Whether `out` is fit for a result of this shape and of the dtype of `first`, for sure: writable, its elements side
    by side, apart from these arrays. What does not seem so may still be: `convkit._arrays.as_out` has the last word.
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


cdef bint plain_sizes(tuple sizes) except -1:
    for size in sizes:
        if type(size) is not int or not 0 <= size <= INT64_MAX:
            return False
    return True


cdef bint plain(tuple values) except -1:
    """Whether all are ints, strings, None or tuples of sizes, and so may be part of a key: a bool equals an int, a list
    has no hash.
    """
    for value in values:
        if type(value) is int or type(value) is str or value is None:
            continue
        if type(value) is not tuple or not plain_sizes(value):
            return False
    return True


cdef enum:
    MOST_KEPT = 1024
    PLACES = 256  # a power of two
    WORDS = 48

# A key without a hash of its own: numbers as they are, strings by where they lie, None as 0, tuples by their length and
# then what is in them. The first word says which is which; it begins with the 2 of a shape, or 3 of a string. To look it up takes a third of the time of a key of tuples.
cdef struct Words:
    int64_t word[WORDS]
    int count


cdef bint add_number(Words *words, object value) noexcept:
    cdef int beyond = 0
    words.word[words.count] = PyLong_AsLongLongAndOverflow(value, &beyond)
    words.count += 1
    return not beyond and words.count < WORDS


cdef bint add_shape(Words *words, cnp.ndarray array) noexcept:
    cdef int nd = cnp.PyArray_NDIM(array), axis
    if words.count + nd + 1 >= WORDS:
        return False
    words.word[words.count] = nd
    for axis in range(nd):
        words.word[words.count + 1 + axis] = cnp.PyArray_DIMS(array)[axis]
    words.count += nd + 1
    return True


cdef bint add_tuple(Words *words, tuple values) except -1:
    if not add_number(words, len(values)):
        return False
    for value in values:
        if type(value) is not int or not add_number(words, value):
            return False
    return True


cdef bint add_tuples(Words *words, tuple values) except -1:
    """Pairs, as paddings are."""
    if not add_number(words, len(values)):
        return False
    for value in values:
        if type(value) is not tuple or not add_tuple(words, value):
            return False
    return True


cdef bint add_words(Words *words, tuple values) except -1:
    """Adds them to a key; whether they are of a kind, and of a number, that it can have."""
    cdef int64_t kinds = words.word[0]
    for value in values:
        if type(value) is int:
            kinds = 4 * kinds + 1
            if not add_number(words, value):
                return False
        elif type(value) is cnp.ndarray:
            kinds = 4 * kinds + 2
            if not add_shape(words, value):
                return False
        elif type(value) is tuple and len(<tuple>value) > 0 and type((<tuple>value)[0]) is tuple:
            kinds *= 4
            if not add_tuples(words, value):
                return False
        elif type(value) is tuple:
            kinds = 4 * kinds + 2
            if not add_tuple(words, value):
                return False
        elif type(value) is str or value is None or type(value) is bool:
            kinds = 4 * kinds + 3
            words.word[words.count] = <int64_t>(0 if value is None else <size_t><PyObject *>value)
            words.count += 1
            if words.count == WORDS:
                return False
        else:
            return False
    words.word[0] = kinds
    return True


cdef int place_of(const Words *words) noexcept:
    """Numbers side by side would wait for each other's product."""
    cdef uint64_t even = 0, odd = 0
    cdef int i
    for i in range(0, words.count - 1, 2):
        even = (even ^ <uint64_t>words.word[i]) * 0x9e3779b97f4a7c15ULL
        odd = (odd ^ <uint64_t>words.word[i + 1]) * 0xc2b2ae3d27d4eb4fULL
        even ^= even >> 29
        odd ^= odd >> 29
    if words.count & 1:
        even ^= <uint64_t>words.word[words.count - 1]
    return <int>(((even ^ odd >> 7) * 0x9e3779b97f4a7c15ULL) >> 32) & (PLACES - 1)


@cython.final
cdef class _Found:
    """What was found, and under which key; the strings of which it holds on to."""

    cdef Words words
    cdef object key, value

    def __cinit__(self, key, value):
        self.key, self.value = key, value


@cython.final
cdef class _Remembered:
    """What a function finds from sizes alone. See `remembered`."""

    cdef object plan, made_plain
    cdef dict kept
    cdef list places

    def __cinit__(self, plan, made_plain):
        self.plan, self.made_plain, self.kept, self.places = plan, made_plain, {}, [None] * PLACES

    cdef object at_key(self, tuple known, tuple given):
        """_Found under a key of tuples."""
        if not plain(given):
            given = self.made_plain(given)
            try:
                hash(given)
            except TypeError:
                return self.plan(*known, *given)
        key = (known, given)
        value = self.kept.get(key)
        if value is None:
            value = self.plan(*known, *given)
            if len(self.kept) >= MOST_KEPT:
                self.kept.pop(next(iter(list(self.kept))), None)  # a list: other threads may add to it
            self.kept[key] = value
        return value

    @cython.critical_section
    cdef object there(self, int place, const Words *words):
        cdef _Found found = self.places[place]
        if found is None or found.words.count != words.count:
            return None
        if memcmp(found.words.word, words.word, words.count * sizeof(int64_t)) != 0:
            return None
        return found.value

    @cython.critical_section
    cdef int put(self, int place, _Found found) except -1:
        self.places[place] = found
        return 0


cdef tuple with_shapes(tuple known):
    return tuple([value.shape if isinstance(value, cnp.ndarray) else value for value in known])


def remembered(plan, made_plain):
    """plan(*known, *given) as a function of the two tuples, which keeps what it has found: a thousand of them.

    An ndarray in `known` stands for its shape, which takes longer to ask for than all of this. Those in `given` come from a caller. Where they are not plain, `made_plain` makes them so; of what then has no hash
    plan says what is wrong with it.
    """
    cdef _Remembered memory = _Remembered(plan, made_plain)

    def planned(tuple known not None, tuple given not None):
        """What was found for these, now or before."""
        cdef Words words
        cdef int place
        cdef _Found found
        words.word[0], words.count = 0, 1
        if not add_words(&words, known) or not add_words(&words, given):
            return memory.at_key(with_shapes(known), given)
        place = place_of(&words)
        value = memory.there(place, &words)
        if value is None:
            known = with_shapes(known)
            value = memory.at_key(known, given)
            found = _Found((known, given), value)
            found.words = words
            memory.put(place, found)
        return value

    return planned
