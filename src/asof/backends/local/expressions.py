"""SQL expressions over Arrow batches: the same engine and settings for a training set and for one request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from asof import dtypes
from asof.errors import DefinitionError, FeatureValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIX = "Write one SQL expression over the view's inputs, as: spend__amount_sum_30d / nullif(distance, 0)."


class LocalExpressions:
    """Evaluates expressions with DuckDB, on a connection without data or files per thread.

    DuckDB is imported by the first expression, so that a server without any stays small.
    """

    def __init__(self) -> None:
        """Connect on first use."""
        self._local = threading.local()

    def evaluate(self, batch: pa.RecordBatch, expressions: Sequence[str]) -> list[pa.Array]:
        """Return one array per expression; see `ExpressionEngine`."""
        import duckdb

        con = getattr(self._local, "con", None)
        if con is None:
            con = self._local.con = _connect()
        # A line break before each bracket, so that a comment at an expression's end cannot swallow it.
        columns = ", ".join(f"(\n{text}\n) AS c{number}" for number, text in enumerate(expressions))
        con.register("src", pa.Table.from_batches([batch]))
        try:
            table = con.sql(f"SELECT {columns} FROM src").to_arrow_table()
        except duckdb.Error as error:
            raise FeatureValueError(
                "A SQL expression of an on-demand view cannot be computed",
                why=str(error).splitlines()[0],
                fix="Guard it against such values, as with TRY_CAST or CASE.",
            ) from error
        finally:
            con.unregister("src")
        return [column.combine_chunks() for column in table.columns]


def check_expression(schema: pa.Schema, expression: str, used_by: str) -> pa.DataType:
    """Return the Arrow type of an expression; see `Scanner.check_expression`."""
    from asof.backends.local import predicates

    with _connect() as con:
        con.register("src", schema.empty_table())
        try:
            predicates.check_expression(con, schema.names, used_by, expression)
        except DefinitionError as error:
            raise DefinitionError(
                f"The expression {expression!r} of {used_by} cannot be used", why=error.why, fix=_FIX
            ) from error
        table = con.sql(f"SELECT {predicates.condition(expression)} AS c FROM src").to_arrow_table()
    found = table.schema.field(0).type
    if dtypes.from_arrow(found) is None:
        raise DefinitionError(
            f"The expression {expression!r} of {used_by} gives {found}", why="Features cannot have that type", fix=_FIX
        )
    return found


def _connect() -> Any:
    import duckdb

    con = duckdb.connect(":memory:", config={"threads": 1})
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_external_access = false")
    return con
