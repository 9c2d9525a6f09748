"""Reads any number of views and keys with one statement, so with one round trip and from one instant of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from asof.backends.postgres import packing
from asof.backends.postgres.layout import COLUMNS, generation, values_table
from asof.errors import StoreError
from asof.interfaces.online import ViewRead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

    from asof.interfaces.online import Generation, Requests, ViewKey

_TRIES = 50
_STATEMENTS = 1000
_POINTER = (
    f"SELECT {{number}}, {{values}}, {COLUMNS} FROM asof_pointers WHERE project = %s AND view = %s AND version = %s"
)
# Looked up key by key, which no statistics of a table can turn into reading all of it.
_VALUES = (
    "CASE WHEN storage = {storage} THEN ARRAY(SELECT (SELECT v.value FROM {table} v WHERE v.key = k.key) "
    "FROM unnest(%s::bytea[]) WITH ORDINALITY AS k(key, n) ORDER BY k.n) END"
)


class Reader:
    """Remembers which table holds a view's values, and finds out where that is no longer so."""

    def __init__(self, where: str) -> None:
        """Know nothing yet; `where` names the server in messages."""
        self._where = where
        self._storages: dict[ViewKey, int] = {}
        self._decoded: dict[ViewKey, tuple[tuple[Any, ...], Generation]] = {}
        self._statements: dict[tuple[int | None, ...], bytes] = {}

    def read(self, connection: Connection, requests: Requests) -> list[ViewRead]:
        """Return the answers, in the order of the requests.

        Raises:
            psycopg.errors.UndefinedTable: within a transaction, a table that it saw is gone: begin again.
        """
        outside = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        for _ in range(_TRIES):
            storages = tuple(self._storages.get(view) if keys else None for view, keys in requests)
            try:
                rows = self._rows(connection, requests, storages)
            except psycopg.errors.UndefinedTable:
                for view, _ in requests:
                    self._storages.pop(view, None)
                if not outside or not any(storages):
                    raise
                continue
            answers = self._answers(requests, rows)
            if answers is not None:
                return answers
        raise StoreError(f"The views in {self._where} kept changing while they were read", fix="Try again.")

    def _rows(
        self, connection: Connection, requests: Requests, storages: tuple[int | None, ...]
    ) -> dict[int, tuple[Any, ...]]:
        if not requests:
            return {}
        statement = self._statements.get(storages)
        if statement is None:
            if len(self._statements) >= _STATEMENTS:
                self._statements.clear()
            statement = self._statements[storages] = _statement(storages)
        parameters: list[Any] = []
        for (view, keys), storage in zip(requests, storages, strict=True):
            if storage is not None:
                parameters.append(packing.from_list(keys))
            parameters += [view.project, view.view, view.version]
        with connection.cursor(binary=True) as cursor:
            found = cursor.execute(statement, parameters).fetchall()
        return {row[0]: row[1:] for row in found}

    def _answers(self, requests: Requests, rows: dict[int, tuple[Any, ...]]) -> list[ViewRead] | None:
        """Return the answers, or None where a view is in another table than was thought."""
        answers: list[ViewRead] = []
        whole = True
        for number, (view, keys) in enumerate(requests):
            row = rows.get(number)
            if row is None:
                self._storages.pop(view, None)
                answers.append(ViewRead(None, [None] * len(keys)))
                continue
            values, *pointer = row
            if keys and values is None:
                self._storages[view] = pointer[0]
                whole = False
                continue
            answers.append(ViewRead(self._generation(view, tuple(pointer)), values or []))
        return answers if whole else None

    def _generation(self, view: ViewKey, pointer: tuple[Any, ...]) -> Generation:
        known = self._decoded.get(view)
        if known is None or known[0] != pointer:
            known = self._decoded[view] = pointer, generation(pointer)
        return known[1]


def _statement(storages: Sequence[int | None]) -> bytes:
    parts = []
    for number, storage in enumerate(storages):
        values = "NULL::bytea[]" if storage is None else _VALUES.format(storage=storage, table=values_table(storage))
        parts.append(_POINTER.format(number=number, values=values))
    return " UNION ALL ".join(parts).encode()
