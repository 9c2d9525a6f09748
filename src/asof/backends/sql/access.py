"""API keys and the audit log in the registry's database; the log has no statement that changes or removes a row."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from asof.backends.sql.tables import api_keys, audit
from asof.backends.sql.transfer import refuse_moved
from asof.interfaces.access import AuditRecord, Chained, KeyRecord, chain_hash
from asof.plan.access import Grant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asof.backends.sql.database import Database

_PAGE = 5000


class SqlAccess:
    """The access contract on SQL; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        """Use a database that has the tables; whoever opened it closes it."""
        self._database = database

    def all_keys(self) -> list[KeyRecord]:
        """Return all keys, revoked and expired ones too, in the order of their making."""
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(api_keys).order_by(api_keys.c.created_us, api_keys.c.id)).all()
        found = []
        for row in rows:
            fields: dict[str, Any] = dict(row._mapping)
            fields["grant"] = msgspec.json.decode(fields["grant"], type=Grant)
            found.append(KeyRecord(**fields))
        return found

    def add_key(self, key: KeyRecord) -> None:
        """Store a new key.

        Raises:
            ConflictError: there is one of that id.
            MovedError: the registry was moved.
        """
        row = {name: getattr(key, name) for name in api_keys.c.keys()}  # noqa: SIM118 - columns, not a dict
        row["grant"] = msgspec.json.encode(key.grant).decode()
        with self._database.transaction(writes=True) as connection:
            refuse_moved(connection, self._database)
            connection.execute(sa.insert(api_keys), row)

    def revoke_key(self, id: str, at_us: int) -> bool:
        """Revoke a key; return whether there is one of that id. One that was revoked before keeps its time."""
        revoked = sa.func.coalesce(api_keys.c.revoked_us, at_us)
        with self._database.transaction(writes=True) as connection:
            refuse_moved(connection, self._database)
            done = connection.execute(sa.update(api_keys).where(api_keys.c.id == id).values(revoked_us=revoked))
        return bool(done.rowcount == 1)

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Append to the log, each record chained to the one before, in one transaction."""
        if not records:
            return
        newest = sa.select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1)
        with self._database.transaction(writes=True) as connection:
            last = connection.execute(newest).first()
            number, before = (0, "") if last is None else (last.number, last.hash)
            rows = []
            for record in records:
                number += 1
                before = chain_hash(before, number, record)
                rows.append({"number": number, "hash": before, **asdict(record)})
            connection.execute(sa.insert(audit), rows)

    def audit(
        self, *, who: str | None = None, what: str | None = None, since_us: int | None = None, limit: int = 100
    ) -> list[Chained]:
        """Return the newest records, newest first; `who` and `what` match a part of the text."""
        query = sa.select(audit).order_by(audit.c.number.desc()).limit(limit)
        for column, part in ((audit.c.who, who), (audit.c.what, what)):
            if part is not None:
                query = query.where(column.contains(part, autoescape=True))
        if since_us is not None:
            query = query.where(sa.or_(audit.c.at_us >= since_us, audit.c.until_us >= since_us))
        with self._database.transaction() as connection:
            return [_chained(row) for row in connection.execute(query)]

    def chain(self) -> Iterator[Chained]:
        """Yield every record, oldest first."""
        after = None
        while True:
            query = sa.select(audit).order_by(audit.c.number).limit(_PAGE)
            if after is not None:
                query = query.where(audit.c.number > after)
            with self._database.transaction() as connection:
                page = [_chained(row) for row in connection.execute(query)]
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].number


def _chained(row: Any) -> Chained:
    fields = dict(row._mapping)
    number, hash_ = fields.pop("number"), fields.pop("hash")
    return Chained(number, AuditRecord(**fields), hash_)
