"""Shipped for users and third parties: unit tests of definitions, the oracle, generators, conformance suites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asof.testing.values import feature_table, feature_values

__all__ = ["feature_table", "feature_values"]


def __getattr__(name: str) -> Any:
    """Import the functions on first use, so that the oracle alone stays light."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asof.testing import values

    return getattr(values, name)
