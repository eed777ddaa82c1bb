"""The Cython boundary: one extension module, `engine`, that holds the whole C library."""

from importlib import import_module

try:
    import_module(".engine", __name__)  # here for its message only
except ImportError as error:
    raise ImportError(
        f"convkit's compiled engine is not in {__path__[0]}: this is a source tree that was not built in place. "
        "Install it (pip install .) and start Python from another directory or with -P, or build it here "
        "(pip install -e .)"
    ) from error
