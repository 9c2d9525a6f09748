"""Loads the module that hands over to one library, when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from asof.errors import ConfigError

# Module of ours: what pip calls the library.
_PACKAGES = {
    "torch": "torch",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "tfrecord": "tensorflow",
}


def load(name: str) -> Any:
    """Return the module of this package that hands over to the library `name`.

    Raises:
        ConfigError: the library is not installed.
    """
    try:
        return import_module(f"asof.frameworks.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("asof"):
            raise
        raise ConfigError(
            f"The package {error.name} is not installed",
            why=f"Rows are handed over to {name} with it",
            fix=f"Run `pip install {_PACKAGES[name]}`",
        ) from error
