"""The library's answers to a case's questions, in the oracle's form: history over frames, below the store's facade."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof.backends.local.executor import LocalExecutor
from asof.backends.local.scanner import LocalScanner
from asof.clock import from_us
from asof.definitions import FrameSource
from asof.definitions.collection import Definitions
from asof.errors import RejectedRowsWarning
from asof.services.history import STATUS, HistoryReader
from asof.services.resolve import resolve_definitions
from asof.services.spine import make_spine
from asof.testing.generators import rows_table
from asof.testing.oracle import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asof.definitions import FeatureView
    from asof.testing.generators import Case, Question, Row

MEMORY_BYTES = 64 * 2**20


def spine_table(case: Case, questions: Sequence[Question]) -> pa.Table:
    """Return questions as a spine: join keys and `asked_at`."""
    types = {"int64": pa.int64(), "string": pa.string()}
    fields = [pa.field(name, types[dtype or "int64"]) for name, dtype in case.entity.join_keys]
    schema = pa.schema([*fields, pa.field("asked_at", pa.timestamp("us", "UTC"))])
    names = schema.names
    return pa.Table.from_pylist(
        [dict(zip(names, (*key, from_us(t)), strict=True)) for key, t in questions], schema=schema
    )


def frame_views(case: Case, rows: Sequence[Row] | None = None) -> list[FeatureView]:
    """Return the case's views over its rows as a frame."""
    table = rows_table(list(case.rows if rows is None else rows))
    return case.views(FrameSource("rows", frame=table, **case.roles))


def history(
    case: Case,
    views: Sequence[FeatureView],
    *,
    root: Path,
    budget_bytes: int = 2**30,
    threads: int = 2,
    now_us: int | None = None,
) -> dict[str, list[Answer]]:
    """Return the library's answers by view; event times are not part of history and stay None."""
    source = views[0].source
    frames = {source.name: source.frame} if isinstance(source, FrameSource) else {}
    scanner = LocalScanner(root, frames, root / "quarantine", MEMORY_BYTES, threads)
    specs = resolve_definitions(Definitions.of([("the case", list(views))]), scanner).views
    executor = LocalExecutor(root / "tmp", budget_bytes, threads=threads)
    reader = HistoryReader(scanner, executor, now_us=now_us)
    spine = make_spine(spine_table(case, case.questions), "asked_at")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedRowsWarning)
        columns = {spec.name: reader.read(spec, spec.features, spine, statuses=True) for spec in specs}
    if not case.questions:
        return {spec.name: [] for spec in specs}
    return {
        spec.name: as_answers(columns[spec.name].slice(0, len(case.questions)), [f.name for f in spec.features])
        for spec in specs
    }


def as_answers(columns: pa.Table, names: Sequence[str]) -> list[Answer]:
    """Return a table of features, with a status column after each, as answers."""
    answers = []
    for row in columns.to_pylist(maps_as_pydicts="strict"):
        statuses: dict[str, Any] = {name: row.get(name + STATUS) for name in names}
        answers.append(Answer({name: row[name] for name in names}, statuses, None))
    return answers
