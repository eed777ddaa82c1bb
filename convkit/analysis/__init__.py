"""Tools to look into layers and models."""

from .gradients import GradientCheck, GradientReport, check_gradients
from .matrix import conv_matrix, conv_operator

__all__ = ["GradientCheck", "GradientReport", "check_gradients", "conv_matrix", "conv_operator"]
