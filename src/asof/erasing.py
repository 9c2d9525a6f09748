"""Erasing from an open project: what it holds put together, who may do it, and what the audit log says of it."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from asof.backends.local.tables import LocalTableWriter
from asof.plan.access import Action
from asof.services.audit import AuditLog
from asof.services.caller import local_name
from asof.services.erase import Erasure, Project
from asof.services.erased_rows import wanted

if TYPE_CHECKING:
    from asof.services.erase import Erased
    from asof.wiring import Wiring


def erase(project: Wiring, keys: Any, entity: str | None, *, dry_run: bool) -> Erased:
    """Erase entities, or with `dry_run` only search; see `FeatureStore.erase`.

    The audit log gets the name of the entity, how many there were, and an id that the report has, too. It does not get
    keys, nor hashes of them: there are so few customer numbers that all their hashes can be tried.
    """
    project._refuse_moved_files()
    caller, catalog = project.caller, project.catalog()
    asked = wanted(catalog, keys, entity)
    job = Erasure(_opened(project), asked)
    if dry_run:
        caller.require(Action.ERASE)
        return job.run(dry_run=True)
    what = f"entity:{asked.entity.name}"
    detail = f"erasure {job.id} of {asked.keys.num_rows} {what}"
    log = None if caller.active else AuditLog(project.registry.access(), project.clock)  # where access is off, too
    if log is not None:
        log.change(local_name(), Action.ERASE, what, detail=detail)
    with caller.changes(Action.ERASE, detail=detail) if log is None else nullcontext():
        done = job.run()
    ended = f"erasure {job.id}: {done.found} found, {done.remaining} left"
    if log is None:
        with caller.changes(Action.ERASE, detail=ended):
            return done
    log.change(local_name(), Action.ERASE, what, detail=ended)
    return done


def _opened(project: Wiring) -> Project:
    budget, threads = project.config.memory_budget_bytes, os.cpu_count() or 1
    return Project(
        project.config.project,
        project.catalog(),
        project.online,
        project.offline,
        project._written_log,
        project._letters(),
        project._training_sets(),
        LocalTableWriter(),
        project._scanner({}, budget, threads),
        project._arrivals,
        project.clock,
        threads,
        project._state_dir("objects"),
    )
