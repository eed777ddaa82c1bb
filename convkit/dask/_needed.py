"""Dask, or word of the extra that brings it: imported before all that begins with importing Dask."""

from .._extras import need

need("dask.array", "dask")
