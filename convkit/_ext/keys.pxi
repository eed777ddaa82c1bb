# Keys under which what follows from sizes is kept.


def plain(tuple values not None):
    """Whether all are ints, strings or None, and so may be part of a key: a bool equals an int, a list has no hash."""
    for value in values:
        if type(value) is not int and type(value) is not str and value is not None:
            return False
    return True
