"""Tools to look into layers and models."""

from .gradients import GradientCheck, GradientReport, check_gradients

__all__ = ["GradientCheck", "GradientReport", "check_gradients"]
