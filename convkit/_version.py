"""The version, where nothing else is imported; that of pyproject.toml."""

__version__ = "0.2.0.dev0"
