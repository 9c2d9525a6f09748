"""The online store in one DynamoDB table: a read of up to 99 values whose pointers did not change is one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.backends.dynamodb.generations import Generations
from asof.backends.dynamodb.lease import held
from asof.backends.dynamodb.reading import Reader
from asof.backends.dynamodb.updating import Updater
from asof.backends.dynamodb.writer import DynamoWriter
from asof.circuit import Circuit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from asof.backends.dynamodb.connection import Connection
    from asof.interfaces.online import Generation, Update, ViewKey, ViewRead


class DynamoStore:
    """An `OnlineStore` in a table; safe with threads, forks and many processes."""

    def __init__(self, connection: Connection) -> None:
        """Keep everything in the table of a connection."""
        self._connection = connection
        self.circuit = Circuit(f"The online store in {connection.where}")
        self._reader = Reader(connection)
        self._generations = Generations(connection, self._reader)
        self._updater = Updater(connection, self._reader)

    def write(self, view: ViewKey) -> DynamoWriter:
        """Begin a generation; leftovers of writers that died are removed."""
        return DynamoWriter(self._connection, self._generations, view)

    def read(self, requests: Sequence[tuple[ViewKey, Sequence[bytes | None]]]) -> list[ViewRead]:
        """Return the values of all requests as of one instant of the store, keys in order; a None key has no value."""
        projects = {view.project for view, _ in requests}
        if len(projects) != 1:
            return [one for request in requests for one in self.read([request])]
        with self.circuit:
            return self._reader.read(projects.pop(), requests)

    def exclusive(self, project: str, source: str) -> AbstractContextManager[None]:
        """Hold the lock of a source, renewed while the block runs; it lapses some seconds after its holder dies."""
        return held(self._connection, project, source)

    def announce(self, views: Sequence[ViewKey], at_us: int) -> None:
        """Note in the progress of these views that arrivals are on their way; an earlier note stays."""
        for project in {view.project for view in views}:
            self._updater.announce(project, [view for view in views if view.project == project], at_us)

    def update(self, updates: Sequence[Update]) -> None:
        """Write all updates in one step."""
        for project in {update.view.project for update in updates}:
            own = {update.view: update for update in updates if update.view.project == project}
            self._updater.update(project, own)

    def generations(self, project: str) -> dict[ViewKey, Generation]:
        """Return the current generation of every view version of a project."""
        return {view: pointer.shown() for view, pointer in self._reader.pointers(project).views.items()}

    def drop(self, view: ViewKey) -> None:
        """Delete a view version's storage; unknown ones are ignored."""
        self._generations.drop(view)

    def close(self) -> None:
        """Close the connections; more than once is fine."""
        self._connection.close()
