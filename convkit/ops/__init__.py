"""Public operators: one file per family, forward and gradients together."""
