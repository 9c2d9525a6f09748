"""A registry in a SQL database."""

from asof.backends.sql.registry import open_registry

__all__ = ["open_registry"]
