"""Whose a registry is that several projects can reach: of the first that applies to it, and of no other."""

from __future__ import annotations

import re
from typing import cast

import sqlalchemy as sa

from asof.errors import ConfigError

_table = sa.Table("asof_project", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True))


def check(connection: sa.Connection, project: str, where: str) -> bool:
    """Return whether the registry is this project's, or nobody's yet.

    Raises:
        ConfigError: it is another project's.
    """
    if not sa.inspect(connection).has_table(_table.name):
        return False
    owner = cast("str | None", connection.execute(sa.select(_table.c.name)).scalar())
    if owner is not None and owner != project:
        raise ConfigError(
            f"{where} holds project {owner!r}, not {project!r}",
            why="A registry is one project's: what one applies would remove what the other has",
            fix=f'Give each a schema of its own, as "?schema={re.sub("[^a-z0-9_]", "_", project.lower())}"; '
            f"or where the project was renamed, keep its name, {owner!r}.",
        )
    return owner is not None


def claim(connection: sa.Connection, project: str, where: str) -> None:
    """Note, in a transaction that writes, that the registry is this project's.

    Raises:
        ConfigError: it is another project's.
    """
    if not check(connection, project, where):
        _table.create(connection, checkfirst=True)
        connection.execute(sa.insert(_table), {"name": project})
