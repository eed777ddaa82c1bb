# Keys under which what follows from sizes is kept.


cdef bint plain_sizes(tuple sizes) except -1:
    for size in sizes:
        if type(size) is not int or not 0 <= size <= INT64_MAX:
            return False
    return True


def plain(tuple values not None):
    """Whether all are ints, strings, None or tuples of sizes, and so may be part of a key: a bool equals an int, a list
    has no hash.
    """
    for value in values:
        if type(value) is int or type(value) is str or value is None:
            continue
        if type(value) is not tuple or not plain_sizes(value):
            return False
    return True
