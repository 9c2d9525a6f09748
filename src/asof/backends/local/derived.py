"""Adds a view's own columns to an open source: those of its Python transform, then those of its SQL expressions."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from asof import dtypes
from asof.backends.local import predicates
from asof.backends.local.columns import SourceColumn, quoted
from asof.errors import AsofError, DefinitionError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asof.backends.local.relation import Relation
    from asof.plan.specs import DerivedSpec, FunctionSpec, SourceSpec, TransformSpec

    Load = Callable[[FunctionSpec, str], Callable[..., object]]

_BATCH_ROWS = 100_000


def derive_schema(source: str, schema: pa.Schema, select: Sequence[tuple[str, str]]) -> pa.Schema:
    """Return the schema with a column per (name, SQL expression) after its own.

    Raises:
        DefinitionError: an expression cannot be used, or a name is taken.
    """
    if not select:
        return schema
    taken = {name.lower() for name in schema.names}
    with predicates.over_schema(source, schema) as con:
        for name, sql in select:
            if name.lower() in taken:
                raise DefinitionError(
                    f"Column {name!r} is there already", why="Names do not differ by case", fix="Choose another name."
                )
            taken.add(name.lower())
            predicates.check_expression(con, schema.names, source, sql)
        listed = ", ".join(f"{predicates.condition(sql)} AS {quoted(name)}" for name, sql in select)
        added = con.sql(f"SELECT {listed} FROM src").to_arrow_table().schema
    return pa.schema([*schema, *added])


def add_columns(relation: Relation, source: SourceSpec, derived: DerivedSpec | None, load: Load) -> Relation:
    """Return the relation with `src` replaced by its rows with the derived columns; rows and their order stay.

    Args:
        relation: An open source.
        source: Its spec.
        derived: What to add; None adds nothing.
        load: Finds functions.

    Raises:
        SchemaError: the source has got a column of a derived one's name, or a function gives what it did not declare.
        DefinitionError: a function cannot be loaded, or fails.
    """
    if derived is None:
        return relation
    known = {name.lower() for name in relation.columns}
    if taken := [name for name in derived.types() if name.lower() in known]:
        raise SchemaError(
            f"Source {source.name!r} now has a column {taken[0]!r}, which a view computes under the same name",
            fix="Rename the view's column, or leave it out to use the source's.",
        )
    columns = dict(relation.columns)
    if derived.transform is not None:
        _transform(relation, source, derived.transform, load)
        columns |= _added(relation, [output.name for output in derived.transform.outputs])
    if derived.select:
        for one in derived.select:
            predicates.check_expression(relation.con, columns, source.name, one.sql)
        listed = ", ".join(f"{predicates.condition(one.sql)} AS {quoted(one.name)}" for one in derived.select)
        _replace(relation, lambda before: f"SELECT *, {listed} FROM {before}", [one.name for one in derived.select])
        columns |= _added(relation, [one.name for one in derived.select])
    return replace(relation, columns=columns)


def _replace(relation: Relation, query: Callable[[str], str], names: Sequence[str]) -> None:
    """Put a query over the present `src`, given its new name, in its place, with null for NaN in the named columns."""
    con = relation.con
    depth = len(con.execute("SELECT 1 FROM duckdb_views() WHERE view_name LIKE 'asof_src_%'").fetchall())
    before = f"asof_src_{depth}"
    con.execute(f"ALTER VIEW src RENAME TO {before}")
    inner = query(before)
    types = {row[0]: row[1] for row in con.execute(f"DESCRIBE {inner}").fetchall()}
    nulled = ", ".join(
        f"CASE WHEN isnan({quoted(n)}) THEN NULL ELSE {quoted(n)} END AS {quoted(n)}"
        for n in names
        if types[n] in ("FLOAT", "DOUBLE")
    )
    con.execute(f"CREATE TEMP VIEW src AS SELECT *{f' REPLACE ({nulled})' if nulled else ''} FROM ({inner})")


def _added(relation: Relation, names: Sequence[str]) -> dict[str, SourceColumn]:
    ducks = {row[0]: row[1] for row in relation.con.execute("DESCRIBE src").fetchall()}
    listed = ", ".join(map(quoted, names))
    schema = relation.con.sql(f"SELECT {listed} FROM src LIMIT 0").to_arrow_table().schema
    return {name: SourceColumn(name, schema.field(name).type, ducks[name]) for name in names}


def _transform(relation: Relation, source: SourceSpec, spec: TransformSpec, load: Load) -> None:
    """Run a function over all rows once, into a table that spills like any other."""
    used_by = f"Source {source.name!r}"
    function = load(spec.function, used_by)
    # A connection runs one query at a time, and temporary views are its own: a second one reads a copy of the rows.
    copy = f"asof_rows_{uuid.uuid4().hex}"  # others may share the engine
    relation.con.execute(f"CREATE TABLE {copy} AS SELECT * FROM src")
    reader = relation.con.cursor().sql(f"SELECT * FROM {copy}").to_arrow_reader(_BATCH_ROWS)
    outputs = pa.schema([(output.name, dtypes.to_arrow(output.dtype)) for output in spec.outputs])
    schema = pa.schema([*reader.schema, *outputs])
    failed: list[AsofError] = []
    batches = _transformed(reader, function, spec, schema, outputs, failed)
    relation.con.register("asof_transforming", pa.RecordBatchReader.from_batches(schema, batches))
    try:
        relation.con.execute("CREATE TEMP TABLE asof_transformed AS SELECT * FROM asof_transforming")
    except duckdb.Error as error:  # the engine tells a reader's error as text only
        raise failed[0] if failed else error from None
    finally:
        relation.con.unregister("asof_transforming")
        relation.con.execute(f"DROP TABLE {copy}")
    _replace(relation, lambda _: "SELECT * FROM asof_transformed", outputs.names)


def _transformed(
    reader: pa.RecordBatchReader,
    function: Callable[..., Any],
    spec: TransformSpec,
    schema: pa.Schema,
    outputs: pa.Schema,
    failed: list[AsofError],
) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        try:
            found = _call(function, spec, pa.Table.from_batches([batch]))
            columns = [_checked(found, spec, field, batch.num_rows) for field in outputs]
        except AsofError as error:
            failed.append(error)
            raise
        yield pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema)


def _call(function: Callable[..., Any], spec: TransformSpec, rows: pa.Table) -> Any:
    argument: Any = rows
    if spec.frame == "polars":
        import polars

        argument = polars.from_arrow(rows)
    try:
        found = function(argument)
    except AsofError:
        raise
    except Exception as error:
        raise DefinitionError(
            f"The transform {spec.function.path} failed",
            why=f"{type(error).__name__}: {error}",
            fix="It must take any batch of the source's rows, nulls included.",
        ) from error
    if hasattr(found, "__arrow_c_stream__"):
        return pa.table(found)
    return found


def _checked(found: Any, spec: TransformSpec, field: pa.Field, rows: int) -> pa.Array:
    try:
        column = found[field.name]
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if not isinstance(array, pa.Array):
            array = pa.array(array)
        if pa.types.is_dictionary(array.type):  # Arrow cannot decode one of text views, which Polars makes
            array = array.dictionary.cast(field.type).take(array.indices)
        cast = array.cast(field.type)
    except (KeyError, TypeError, IndexError, ValueError, pa.ArrowException) as error:
        raise SchemaError(
            f"The transform {spec.function.path} gives no column {field.name!r} of type {field.type}",
            why=str(error).splitlines()[0] if str(error) else "",
            fix="Return every output that it declares, in its type.",
        ) from error
    if len(cast) != rows:
        raise SchemaError(
            f"The transform {spec.function.path} gives {len(cast)} values in column {field.name!r} for {rows} rows",
            fix="Give every row one value, in the order of the rows.",
        )
    return cast
