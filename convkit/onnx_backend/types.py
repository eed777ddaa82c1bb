"""Element types of a model's values: what an operator's definition lets a node take, and what it gives.

Types follow from types alone, so that a model is known to be sound before any shape is. ONNX's numbers are kept, since
float16 and bfloat16 are computed in float32, and given back as what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..graph import Value
from .files import HALVES, onnx, type_name

# Attributes that are element types.
TYPE_ATTRIBUTES = {
    "Cast": "to", "EyeLike": "dtype", "RandomNormal": "dtype", "RandomUniform": "dtype", "RandomNormalLike": "dtype",
    "RandomUniformLike": "dtype", "Bernoulli": "dtype", "Multinomial": "dtype", "BlackmanWindow": "output_datatype",
    "HammingWindow": "output_datatype", "HannWindow": "output_datatype", "MelWeightMatrix": "output_datatype",
    "BitCast": "to",
}  # fmt: skip
_FLOAT = 1


class Types:
    """The types of one model's values, as far as they are known."""

    def __init__(self) -> None:
        self._numbers: dict[Value, int] = {}

    def note(self, value: Value | None, number: int | None) -> None:
        """Say what type a value has, unless that was said."""
        if value is not None and number is not None:
            self._numbers.setdefault(value, number)

    def of(self, value: Value) -> int | None:
        """The number of a value's type."""
        number = self._numbers.get(value)
        return _number_of(value.data.dtype) if number is None and value.data is not None else number

    def check(self, who: str, schema: Any, inputs: Sequence[Value | None]) -> dict[str, int]:
        """What stands for each of the definition's variables.

        Raises
        ------
        ValueError
            If an input has none of the types that it may have, or another one than an input of the same variable.
        """
        bound: dict[str, int] = {}
        for i, value in enumerate(inputs):
            number = None if value is None else self.of(value)
            if number is None:
                continue
            formal = schema.inputs[min(i, len(schema.inputs) - 1)]  # the last one may stand for many
            wanted = formal.types if formal.type_str not in bound else {_named(bound[formal.type_str])}
            if not any(_alike(number, name) for name in wanted):
                names = ", ".join(sorted(wanted))
                raise ValueError(f"{who} must have an input {formal.name} of {names}, got {_named(number)}")
            if formal.is_homogeneous:
                bound.setdefault(formal.type_str, number)
        return bound

    def give(
        self, schema: Any, attrs: Mapping[str, Any], bound: Mapping[str, int], outputs: Sequence[Value | None]
    ) -> None:
        """Note the types of a node's outputs."""
        for i, value in enumerate(outputs):
            formal = schema.outputs[min(i, len(schema.outputs) - 1)]
            number = bound.get(formal.type_str)
            if number is None and len(formal.types) == 1:
                number = _numbers().get(next(iter(formal.types)))
            self.note(value, _said(schema, attrs, bound) if number is None else number)


def _said(schema: Any, attrs: Mapping[str, Any], bound: Mapping[str, int]) -> int | None:
    """The type that an attribute says; without it, the one that it then has, or the input's."""
    if schema.name == "ConstantOfShape":
        return _number_of(attrs["value"].dtype) if "value" in attrs else _FLOAT
    name = TYPE_ATTRIBUTES.get(schema.name)
    if name is None:
        return None
    if name in attrs:
        said = attrs[name]
        return onnx().TensorProto.DataType.Value(said) if isinstance(said, str) else _number_of(said)
    return schema.attributes[name].default_value.i or next(iter(bound.values()), None)


def same(number: int, other: int) -> bool:
    """Whether elements of both types are alike here."""
    return number == other or (number in (_FLOAT, *HALVES) and other in (_FLOAT, *HALVES))


def _alike(number: int, name: str) -> bool:
    other = _numbers().get(name)
    return other is not None and same(number, other)


def _named(number: int) -> str:
    return f"tensor({type_name(number).lower()})"


@cache
def _numbers() -> dict[str, int]:
    return {_named(number): number for number in onnx().TensorProto.DataType.values()}


def _number_of(dtype: np.dtype) -> int:
    return onnx().helper.np_dtype_to_tensor_dtype(dtype)
