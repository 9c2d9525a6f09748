"""Where a project is: on the one server, or with the node of a cluster that is the master of the project's slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asof.backends.redis.online.lines import Lines
from asof.backends.redis.online.masters import master_client, topology_of
from asof.backends.redis.online.pointers import Names
from asof.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from asof.backends.redis.settings import Settings

_CONNECT_S, _REPLY_S = 5.0, 30.0
_WAIT_MS = 5000
_MARK_MS = 60_000


@dataclass(frozen=True)
class Place:
    """A project's server.

    Attributes:
        where: Names it in messages.
        client: For what may take its time.
        lines: For what is read within a budget.
        changes: For what must not be asked twice.
        names: Of the keys.
        replicas: How many replicas have a write before it is acknowledged.
    """

    where: str
    client: Redis
    lines: Lines
    changes: Lines
    names: Names
    replicas: int

    def change(self, script: str, sha: str, keys: int, *arguments: Any) -> tuple[Any, int]:
        """Run a script that writes, once, and return its answer and how many replicas have what was written."""
        if not self.replicas:
            return self.changes.run(script, sha, keys, *arguments), 0
        wait = ("WAIT", self.replicas, _WAIT_MS)
        answer, copies = self.changes.run(script, sha, keys, *arguments, then=wait)
        return answer, copies

    def look(self, project: str, fields: Sequence[bytes], *, again: bool) -> tuple[list[bytes | None], int]:
        """Return fields of a project's pointers, and how many replicas have them.

        Args:
            project: The project.
            fields: Their names.
            again: Whether a write is looked for whose answer was lost; else replicas are not asked for.
        """
        asked = ("HMGET", self.names.pointers(project), *fields)
        if not (again and self.replicas):
            return self.lines.ask(*asked), 0
        mark = ("SET", self.names.replicated(project), "1", "PX", _MARK_MS)  # whoever has it has what came before
        _, copies, found = self.changes.ask_all(mark, ("WAIT", self.replicas, _WAIT_MS), asked)
        return found, copies

    def check(self, copies: int) -> None:
        """Do nothing if enough replicas have a write.

        Raises:
            StoreError: too few have it.
        """
        if copies < self.replicas:
            raise StoreError(
                f"A write to the online store on {self.where} reached {copies} of {self.replicas} replicas in time",
                why=f"The server has it, but may lose it at a failover; {_WAIT_MS // 1000} s were waited",
                fix="Try again when the replicas are back, or ask for fewer of them: replicas=… in the URL.",
            )

    def close(self) -> None:
        """Close the connections."""
        self.lines.close()
        self.changes.close()
        self.client.close()


class Places:
    """Where projects are, found when they are first asked for."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        self._settings = settings
        self._client = settings.connect(connect_s=_CONNECT_S, reply_s=_REPLY_S)
        self._topology = topology_of(self._client, settings.nodes) if settings.cluster else None
        self._names = Names(tagged=settings.cluster)
        self._known: dict[str, Place] = {}

    def of(self, project: str) -> Place:
        """Return where a project is."""
        name = project if self._topology is not None else ""
        found = self._known.get(name)
        return found if found is not None else self._known.setdefault(name, self._place(project))

    def _place(self, project: str) -> Place:
        settings, client = self._settings, self._client
        if self._topology is not None:
            client = master_client(client, self._topology, self._names.pointers(project))
        return Place(
            where=settings.where,
            client=client,
            lines=Lines(client, settings.budget_s),
            changes=Lines(client, _REPLY_S, tries=1),
            names=self._names,
            replicas=settings.replicas,
        )

    def close(self) -> None:
        """Close the connections; more than once is fine."""
        for place in self._known.values():
            place.close()
        self._client.close()
