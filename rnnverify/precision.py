"""The dtypes that a side may compute in. NumPy lacks bfloat16: its values are kept as the float32 of equal value."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rnnverify.canonical import Array

DtypeName = Literal["bfloat16", "float16", "float32", "float64"]

UNIT_ROUNDOFF = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
_SMALLEST = {"bfloat16": 2.0**-126, "float16": 2.0**-14, "float32": 2.0**-126, "float64": 2.0**-1022}


def narrow(array: Array, dtype: str) -> Array:
    """`array` rounded to `dtype`, ties to even; what exceeds its range becomes infinite."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    values = np.where(np.isnan(array), np.float32(np.nan), rounded.view(np.float32))
    return np.asarray(values, np.float32).reshape(array.shape)


def holds(array: Array, dtype: str) -> bool:
    """Whether `dtype` holds every value of `array` (B, T, F) as it is, looked at one step after another."""
    return all(bool(np.all(narrow(array[:, t], dtype) == array[:, t])) for t in range(array.shape[1]))


def spacing(array: Array, dtype: str) -> Array:
    """The unit in the last place of `dtype` at every value, float64."""
    if dtype == "bfloat16":
        return np.asarray(np.spacing(array.astype(np.float32)).astype(np.float64) * 2.0**16)
    return np.asarray(np.spacing(array.astype(dtype)).astype(np.float64))


def smallest(dtype: str) -> float:
    """The smallest normal number: what underflow may take from one term."""
    return _SMALLEST[dtype]
