"""Data: the digits, batches, and changes to images."""

from .digits import Split, digits, digits_split
from .minibatches import Minibatches, minibatches
from .transforms import shift

__all__ = ["Minibatches", "Split", "digits", "digits_split", "minibatches", "shift"]
