"""What the server serves: one registry revision, compiled, replaced as a whole when somebody applies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asof.errors import AsofError, StoreError
from asof.server.gauges import StatusCollector
from asof.services.catalog import Catalog
from asof.services.online import OnlineReader
from asof.services.overview import Status, project_status

if TYPE_CHECKING:
    from asof.server.metrics import Metrics
    from asof.server.project import Project

_log = logging.getLogger("asof.server")


class Serving:
    """Holds the current revision. A request takes `reader` once, so it never mixes two revisions.

    Attributes:
        project: Its stores.
        reader: Reads as of the newest revision seen, or None before the registry was read.
        catalog: Of the same revision.
        problem: Why the registry cannot be read at present; what was read before is served on.
    """

    def __init__(self, project: Project, metrics: Metrics) -> None:
        """Serve nothing until the first `refresh`."""
        self.project = project
        self.reader: OnlineReader | None = None
        self.catalog: Catalog | None = None
        self.problem: AsofError | None = None
        self._metrics = metrics

    def refresh(self) -> None:
        """Look for a new revision; compile its services aside, then switch to it."""
        try:
            project = self.project
            registry = project.registry
            if self.catalog is not None and registry.revision() == self.catalog.revision:
                self.problem = None
                return
            catalog = Catalog(registry.snapshot())
            reader = OnlineReader(
                catalog,
                project.online,
                project=project.name,
                clock=project.clock,
                functions=project.functions,
                expressions=project.expressions,
            )
        except AsofError as error:
            if self.problem is None:
                _log.error("the registry cannot be read: %s", error)
            self.problem = error
            return
        for service in catalog.services():
            try:
                reader.plan(service.name)
            except Exception:  # noqa: BLE001 - whoever asks for this service gets the error, the others their features
                _log.exception("service %s cannot be compiled", service.key)
        self.catalog, self.reader, self.problem = catalog, reader, None
        self._metrics.serving(catalog.revision)

    def current_reader(self) -> OnlineReader:
        """Return the reader of the newest revision seen.

        Raises:
            StoreError: the registry was never read.
        """
        if self.reader is None:
            raise self.problem or _starting()
        return self.reader

    def current_catalog(self) -> Catalog:
        """Return the newest revision seen.

        Raises:
            StoreError: the registry was never read.
        """
        if self.catalog is None:
            raise self.problem or _starting()
        return self.catalog

    def status(self) -> Status:
        """Return how fresh every view is online.

        Raises:
            StoreError: the registry was never read, or the online store does not answer.
        """
        project = self.project
        return project_status(
            self.current_catalog(),
            project.online,
            project.log,
            project.letters,
            project=project.name,
            clock=project.clock,
        )

    def collector(self) -> StatusCollector | None:
        """Return the status for Prometheus, or None while it cannot be had."""
        try:
            return StatusCollector(self.status(), self.project.clock.now_us())
        except AsofError:
            return None


def _starting() -> StoreError:
    return StoreError("The server is starting", why="It has not read the registry yet", fix="Try again in a moment.")
