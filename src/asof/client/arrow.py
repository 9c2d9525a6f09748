"""Answers and pushes as Arrow IPC streams; pyarrow is loaded when one is looked at or sent, not before."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from asof.errors import InputError, UnsupportedOperationError

if TYPE_CHECKING:
    import pyarrow as pa

    from asof.errors import AsofError

_STATUS = "__status"


class ArrowFeatures:
    """The features of some keys as they came, an Arrow IPC stream; read when they are first looked at.

    Attributes:
        request_id: What the server's logs know the request by.
        content: The stream.
    """

    def __init__(self, content: bytes, *, request_id: str, metadata: bool) -> None:
        """Wrap an answer; made by a client."""
        self.content = content
        self.request_id = request_id
        self._metadata = metadata

    @cached_property
    def _batch(self) -> pa.RecordBatch:
        import pyarrow as pa

        with pa.ipc.open_stream(self.content) as stream:
            return stream.read_next_batch()

    @cached_property
    def _head(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self._batch.schema.metadata[b"asof"])
        return found

    @cached_property
    def _statuses(self) -> frozenset[str]:
        names = self._batch.schema.names
        return frozenset(names[1::2]) if self._metadata else frozenset()

    @property
    def at(self) -> datetime:
        """The instant of the read, UTC."""
        return datetime.fromisoformat(self._head["at"])

    @property
    def service(self) -> str | None:
        """The service that was read, with its version: fraud@2; None where features were listed."""
        service: str | None = self._head.get("service")
        return service

    @property
    def failures(self) -> dict[str, AsofError]:
        """Of a partial answer, why views could not be read, by their name; {} for a whole one."""
        from asof.client.responses import error_from

        return {view: error_from(parts) for view, parts in self._head.get("errors", {}).items()}

    @property
    def versions(self) -> dict[str, dict[str, Any]]:
        """Per view, or `role__view`: version, generation, and the instant that the generation shows."""
        views: dict[str, dict[str, Any]] = self._head["views"]
        for view in views.values():
            if isinstance(view["instant"], str):
                view["instant"] = datetime.fromisoformat(view["instant"])
        return views

    @property
    def statuses(self) -> dict[str, list[str]]:
        """Per feature column, one status per key.

        Raises:
            InputError: the read did not ask for metadata.
        """
        if not self._metadata:
            raise InputError("Statuses were not asked for", fix="Read with metadata=True.")
        columns = zip(self._batch.schema.names, self._batch.columns, strict=True)
        return {name.removesuffix(_STATUS): column.to_pylist() for name, column in columns if name in self._statuses}

    @property
    def event_times(self) -> dict[str, list[datetime | None]]:
        """Not in an Arrow stream.

        Raises:
            UnsupportedOperationError: always.
        """
        raise UnsupportedOperationError("Arrow answers hold no event times", fix="Read without arrow=True.")

    def to_dict(self) -> dict[str, list[Any]]:
        """Return per feature column one Python value per key."""
        batch = self.to_arrow()
        return {
            name: [dict(v) if v is not None and _is_map(column) else v for v in column.to_pylist()]
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }

    def to_arrow(self, *, statuses: bool = False) -> pa.RecordBatch:
        """Return one row per key; with `statuses`, a column `<feature>__status` after each feature's.

        Raises:
            InputError: statuses, although the read did not ask for metadata.
        """
        if statuses and not self._metadata:
            raise InputError("Statuses were not asked for", fix="Read with metadata=True.")
        batch = self._batch.replace_schema_metadata(None)
        return batch if statuses else batch.select([n for n in batch.schema.names if n not in self._statuses])

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, one row per key."""
        return self.to_arrow().to_pandas()


def _is_map(column: pa.Array) -> bool:
    import pyarrow.types as pt

    found: bool = pt.is_map(column.type)
    return found


def as_stream(rows: Any) -> bytes:
    """Return rows as an Arrow IPC stream: a dict of columns, an Arrow table, a pandas or Polars frame.

    Raises:
        InputError: Arrow cannot make a table of them.
    """
    import pyarrow as pa

    try:
        if hasattr(rows, "__arrow_c_stream__"):
            table = pa.table(rows)
        elif hasattr(rows, "to_dict") and hasattr(rows, "columns"):
            table = pa.Table.from_pandas(rows, preserve_index=False)
        else:
            table = pa.table(dict(rows))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            f"A {type(rows).__name__} is no table of rows",
            why=str(error).splitlines()[0],
            fix="Give a list of dicts, a dict of columns, an Arrow table, a pandas or a Polars frame.",
        ) from error
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body
