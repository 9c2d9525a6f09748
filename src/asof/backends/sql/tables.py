"""The registry's tables: versions of objects, revisions, runs, access, and the number of this layout."""

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

SCHEMA_VERSION = 4

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

api_keys = Table(
    "asof_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("grant", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=True),
    Column("revoked_us", BigInteger, nullable=True),
)

# Numbers are given by the chain, not by the database, so that a row that is taken out leaves a gap.
audit = Table(
    "asof_audit",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("what", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("keys", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("hash", String(64), nullable=False),
)
