"""The registry contract on SQL: one row per version of an object, one per revision, one transaction per commit."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from asof.backends.sql.migrations import prepare
from asof.backends.sql.ownership import check, claim
from asof.backends.sql.tables import objects, revisions
from asof.backends.sql.tables import runs as run_table
from asof.errors import ConflictError
from asof.interfaces.registry import Change, RegistrySnapshot, Revision, Run, StoredObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.backends.sql.database import Database
    from asof.interfaces.registry import Action, Kind


class SqlRegistry:
    """A registry in a SQL database; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        """Use a database, which is closed with this; an empty one gets the tables, an older one is upgraded."""
        self._database = database
        self._project: str | None = None
        self._newest = sa.select(sa.func.max(revisions.c.number))
        try:
            prepare(database)
        except BaseException:
            self.close()
            raise

    def belong_to(self, project: str) -> None:
        """Refuse the registry of another project, where several can reach it; the first commit makes it this one's.

        Raises:
            ConfigError: it is another project's.
        """
        if self._database.shared:
            self._project = project
            with self._database.transaction() as connection:
                check(connection, project, self._database.name)

    def revision(self) -> int:
        """Return the newest revision's number; one index look-up."""
        with self._database.transaction() as connection:
            return self._revision(connection)

    def snapshot(self) -> RegistrySnapshot:
        """Return everything as of the newest revision, from one transaction."""
        found: dict[tuple[Kind, str, int], StoredObject] = {}
        last: dict[tuple[Kind, str], int] = {}
        with self._database.transaction() as connection:
            revision = self._revision(connection)
            rows = connection.execute(sa.select(objects).order_by(*objects.primary_key.columns)).all()
        for kind, name, version, body, meaning, written, hidden in rows:
            last[kind, name] = version
            if body is not None:
                found[kind, name, version] = StoredObject(kind, name, version, body, meaning, written, hidden)
        return RegistrySnapshot(revision, found, last)

    def commit(self, expected: int, changes: Sequence[Change], *, who: str, at_us: int, summary: str) -> Revision:
        """Write all changes as one revision, in one transaction.

        Raises:
            ConflictError: the newest revision is no longer `expected`, or a changed version is not there.
            ConfigError: the registry is another project's by now.
        """
        number = expected + 1
        with self._database.transaction(writes=True) as connection:
            if self._project is not None:
                claim(connection, self._project, self._database.name)
            newest = self._revision(connection)
            if newest != expected:
                raise ConflictError(
                    f"The registry is at revision {newest}, not {expected}",
                    why="Someone applied in between; nothing was written",
                    fix="Run `asof plan` again, look at what changed, then `asof apply`.",
                )
            row = {"number": number, "at_us": at_us, "who": who, "summary": summary, "changes": _encode(changes)}
            connection.execute(sa.insert(revisions), row)
            for change in changes:
                _write(connection, change, number)
        return Revision(number, at_us, who, summary, tuple(changes))

    def revisions(self, limit: int) -> list[Revision]:
        """Return the newest revisions, newest first, their changes without bodies."""
        query = sa.select(revisions).order_by(revisions.c.number.desc()).limit(limit)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        return [Revision(number, at, who, summary, _decode(text)) for number, at, who, summary, text in rows]

    def record_runs(self, runs: Sequence[Run]) -> None:
        """Append runs to the run ledger, in one transaction."""
        rows = [asdict(run) | {"inputs": msgspec.json.encode(run.inputs).decode()} for run in runs]
        if rows:
            # The files that a run publishes are not flushed either, and a flush would take longer than many a run.
            with self._database.transaction(writes=True, flushed=False) as connection:
                connection.execute(sa.insert(run_table), rows)

    def runs(self, source: str | None, limit: int) -> list[Run]:
        """Return the runs that were recorded last, last first; of one batch source, or of all."""
        query = sa.select(run_table).order_by(run_table.c.number.desc()).limit(limit)
        if source is not None:
            query = query.where(run_table.c.source == source)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        return [_run(row) for row in rows]

    def close(self) -> None:
        """Release files and connections."""
        self._database.close()

    def _revision(self, connection: sa.Connection) -> int:
        return connection.execute(self._newest).scalar_one() or 0


def _run(row: Any) -> Run:
    inputs: list[tuple[str, str]] = msgspec.json.decode(row.inputs, type=list[tuple[str, str]])
    fields = {key: value for key, value in row._mapping.items() if key not in ("number", "inputs")}
    return Run(**fields, inputs=tuple(inputs))


def _write(connection: sa.Connection, change: Change, revision: int) -> None:
    key = {"kind": change.kind, "name": change.name, "version": change.version}
    if change.action in ("create", "new_version"):
        row = {"body": change.body, "meaning": change.meaning, "revision": revision, "hidden": False}
        connection.execute(sa.insert(objects), key | row)
        return
    settings: dict[str, dict[str, Any]] = {
        "metadata": {"body": change.body, "meaning": change.meaning, "revision": revision},
        "remove": {"hidden": True},
        "restore": {"body": change.body, "meaning": change.meaning, "revision": revision, "hidden": False},
        "prune": {"body": None, "meaning": "", "hidden": True},
    }
    where = [objects.c[name] == value for name, value in key.items()]
    done = connection.execute(
        sa.update(objects).where(*where, objects.c.body.is_not(None)).values(settings[change.action])
    )
    if done.rowcount != 1:
        raise ConflictError(
            f"There is no {change.kind} {change.name}@{change.version} to {change.action}",
            why="It was pruned; nothing was written",
            fix="Run `asof plan` again.",
        )


def _encode(changes: Sequence[Change]) -> str:
    return msgspec.json.encode([(c.action, c.kind, c.name, c.version) for c in changes]).decode()


def _decode(text: str) -> tuple[Change, ...]:
    rows: list[tuple[Action, Kind, str, int]] = msgspec.json.decode(text)
    return tuple(Change(action, kind, name, version) for action, kind, name, version in rows)
