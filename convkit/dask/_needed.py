"""Dask, or word of the extra that brings it: imported before all that begins with importing Dask."""

from .._extras import need

need("dask.array", "dask")
if need("dask.config", "dask").get("array.query-planning", False):
    raise ImportError(
        "convkit.dask needs Dask's configuration array.query-planning to be False, which is the default, got True"
    )
