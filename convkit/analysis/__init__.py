"""Tools to look into layers and models.

================  ======================================================================================================
gradients         `check_gradients`, of any function, layer or loss
a model's layers  `summary`, `output_size`, `count_parameters`, `count_flops`
what a unit sees  `receptive_field`, `effective_receptive_field`; `sampling_points` of a deformable layer
as a matrix       `conv_matrix`, and `conv_operator`, which never writes it
================  ======================================================================================================
"""

from .counts import count_flops, count_parameters
from .effective import EffectiveField, effective_receptive_field
from .fields import Field, Fields, receptive_field
from .gradients import GradientCheck, GradientReport, check_gradients
from .matrix import conv_matrix, conv_operator
from .points import sampling_points
from .sizes import output_size
from .summary import Summary, SummaryRow, summary

__all__ = [
    "EffectiveField",
    "Field",
    "Fields",
    "GradientCheck",
    "GradientReport",
    "Summary",
    "SummaryRow",
    "check_gradients",
    "conv_matrix",
    "conv_operator",
    "count_flops",
    "count_parameters",
    "effective_receptive_field",
    "output_size",
    "receptive_field",
    "sampling_points",
    "summary",
]
