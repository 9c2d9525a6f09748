"""The registry's tables: versions of objects, revisions, runs, and the number of this layout."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 3

metadata = MetaData()

schema_version = Table("asof_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

moved = Table("asof_moved", metadata, Column("mark", Text, nullable=False))

revisions = Table(
    "asof_revisions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("changes", Text, nullable=False),
)

# A pruned version keeps its row without a body, so that its number is never given again.
objects = Table(
    "asof_objects",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=True),
    Column("meaning", String(64), nullable=False),
    Column("revision", Integer, ForeignKey(revisions.c.number), nullable=False),
    Column("hidden", Boolean, nullable=False),
)

runs = Table(
    "asof_runs",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("source", String(200), nullable=False),
    Column("meaning", String(64), nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Index("asof_runs_of_source", "source", "number"),
)
