"""Avro and Protobuf messages become the same columns, by the schema each was written with."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2, wrappers_pb2

from asof.backends.formats import open_decoder
from asof.errors import ConfigError, SchemaError, StreamError, StreamRefusedError
from tests.servers.schema_registry import schema_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof.interfaces import Decoder
    from tests.servers.schema_registry import StandInRegistry

AT = datetime(2024, 1, 1, 0, 0, 0, 5, tzinfo=UTC)
COLUMNS = pa.schema(
    [("id", pa.int64()), ("amount", pa.float64()), ("name", pa.string()), ("at", pa.timestamp("us", "UTC"))]
)


@pytest.fixture
def registry() -> Iterator[StandInRegistry]:
    with schema_registry() as registry:
        yield registry


def rows(decoder: Decoder, *values: bytes | None) -> tuple[list[tuple[int, dict[str, Any]]], Any]:
    found = decoder.decode(pa.array(values, pa.binary()))
    assert found.rows.schema == decoder.schema
    return list(zip(found.index.to_pylist(), found.rows.to_pylist(), strict=True)), found.failures


def framed(schema_id: int, payload: bytes) -> bytes:
    return b"\x00" + schema_id.to_bytes(4) + payload


def record(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "Order", "fields": [{"name": name, "type": kind} for name, kind in fields]}


def avro(schema: dict[str, Any], value: dict[str, Any]) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


MICROS = {"type": "long", "logicalType": "timestamp-micros"}
FIRST = record(("id", "int"), ("amount", "int"), ("name", ["null", "string"]), ("at", MICROS))
SECOND = record(("at", MICROS), ("new", "string"), ("id", "long"), ("amount", "double"))


def test_avro_reads_each_message_by_the_schema_it_was_written_with(registry: StandInRegistry) -> None:
    """A field may be added, left out, moved or widened in the middle of a stream; a schema is fetched once."""
    registry.schemas = {1: {"schema": json.dumps(FIRST)}, 2: {"schema": json.dumps(SECOND)}}
    decoder = open_decoder("avro", COLUMNS, registry=registry.url + "/")
    first = avro(FIRST, {"id": 7, "amount": 3, "name": None, "at": AT})
    second = avro(SECOND, {"at": AT, "new": "x", "id": 2**40, "amount": 0.5})
    for _ in range(2):
        found, failures = rows(decoder, framed(1, first), framed(2, second), framed(1, first))
        assert failures == {}
        assert [row for _, row in found] == [
            {"id": 7, "amount": 3.0, "name": None, "at": AT},
            {"id": 2**40, "amount": 0.5, "name": None, "at": AT},
            {"id": 7, "amount": 3.0, "name": None, "at": AT},
        ]
    assert registry.asked == ["/schemas/ids/1", "/schemas/ids/2"]


def test_avro_messages_that_cannot_be_read_fail_one_by_one(registry: StandInRegistry) -> None:
    """Unknown schemas, damaged bytes, other types: each with its reason, its neighbours with their rows."""
    text = record(("id", "string"))
    registry.schemas = {
        1: {"schema": json.dumps(FIRST)},
        2: {"schema": json.dumps(text)},
        3: {"schema": "no schema"},
        4: {"schema": "syntax", "schemaType": "PROTOBUF"},
        5: {"schema": '"string"'},
        6: {"schema": "{}", "references": [{"name": "x"}]},
        7: {"schema": json.dumps(record(("at", {"type": "long", "logicalType": "timestamp-nanos"})))},
    }
    good = avro(FIRST, {"id": 7, "amount": 3, "name": "x", "at": AT})
    cases: list[tuple[bytes | None, str]] = [
        (framed(1, good), ""),
        (framed(9, good), "no schema 9"),
        (framed(1, good[:-3]), "not what its schema says"),
        (framed(1, good + b"x"), "longer"),
        (framed(2, avro(text, {"id": "7"})), "id: '7' is no int64"),
        (framed(3, good), "Schema 3 cannot be read"),
        (framed(4, good), "PROTOBUF, not AVRO"),
        (framed(5, b"\x02x"), "no record"),
        (framed(6, good), "refers to other schemas"),
        (framed(7, b"\x02"), "nanoseconds"),
        (good, "header"),
        (b"", "header"),
        (None, "no value"),
        (framed(1, good), ""),
        (framed(9, good), "no schema 9"),
    ]
    decoder = open_decoder("avro", COLUMNS, registry=registry.url)
    found, failures = rows(decoder, *(value for value, _ in cases))
    assert registry.asked.count("/schemas/ids/9") == 1
    registry.schemas[9] = registry.schemas[1]
    assert rows(decoder, framed(9, good))[1] == {}
    assert [at for at, _ in found] == [at for at, (_, reason) in enumerate(cases) if not reason]
    assert sorted(failures) == [at for at, (_, reason) in enumerate(cases) if reason]
    for at, reason in failures.items():
        assert cases[at][1] in reason


def test_avros_logical_types_are_values(tmp_path: Path) -> None:
    """Read from messages without a header, by the schema in a file."""
    schema = record(
        ("d", {"type": "int", "logicalType": "date"}),
        ("p", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}),
        ("u", {"type": "string", "logicalType": "uuid"}),
        ("m", {"type": "long", "logicalType": "timestamp-millis"}),
        ("n", "long"),
        ("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]}),
        ("l", {"type": "array", "items": "float"}),
    )
    file = tmp_path / "order.avsc"
    file.write_text(json.dumps(schema))
    value = {
        "d": date(2024, 1, 2),
        "p": Decimal("1.25"),
        "u": UUID(int=5),
        "m": datetime(2024, 1, 1, tzinfo=UTC),
        "n": 1704067200000,
        "e": "B",
        "l": [1.0, 0.5],
    }
    columns = [
        ("d", pa.date32()),
        ("p", pa.decimal128(12, 3)),
        ("u", pa.string()),
        ("m", pa.timestamp("us", "UTC")),
        ("n", pa.timestamp("ms", "UTC")),
        ("e", pa.string()),
        ("l", pa.list_(pa.float32(), 2)),
    ]
    decoder = open_decoder("avro", pa.schema(columns), schema_file=file)
    [(_, row)], failures = rows(decoder, avro(schema, value))
    assert failures == {}
    assert row == {**value, "p": Decimal("1.250"), "u": str(UUID(int=5)), "n": datetime(2024, 1, 1, tzinfo=UTC)}


def test_a_registry_that_fails_is_no_failure_of_a_message(registry: StandInRegistry) -> None:
    """The batch can be read again, and nothing goes to the dead letters because of it."""
    decoder = open_decoder("avro", COLUMNS, registry=registry.url)
    registry.status = 503
    with pytest.raises(StreamError, match="HTTP 503") as caught:
        rows(decoder, framed(1, b"x"))
    assert caught.value.retryable
    unreachable = open_decoder("avro", COLUMNS, registry="http://127.0.0.1:1")
    with pytest.raises(StreamError, match="up and can be reached"):
        rows(unreachable, framed(1, b"x"))


def test_a_registrys_user_comes_from_the_environment(
    registry: StandInRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL with a password is refused."""
    registry.schemas = {1: {"schema": json.dumps(FIRST)}}
    registry.authorization = "Basic " + base64.b64encode(b"ada:secret").decode()
    good = framed(1, avro(FIRST, {"id": 7, "amount": 3, "name": "x", "at": AT}))
    with pytest.raises(StreamRefusedError, match="ASOF_SCHEMA_REGISTRY_PASSWORD"):
        rows(open_decoder("avro", COLUMNS, registry=registry.url), good)
    monkeypatch.setenv("ASOF_SCHEMA_REGISTRY_USERNAME", "ada")
    monkeypatch.setenv("ASOF_SCHEMA_REGISTRY_PASSWORD", "secret")
    assert len(rows(open_decoder("avro", COLUMNS, registry=registry.url), good)[0]) == 1
    with pytest.raises(ConfigError, match="ASOF_SCHEMA_REGISTRY_USERNAME") as caught:
        open_decoder("avro", COLUMNS, registry="http://ada:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["avro", "protobuf"])
def test_a_decoder_without_a_schema_is_refused(name: str, tmp_path: Path) -> None:
    """And so is one with a file that is none."""
    with pytest.raises(ConfigError, match="need the"):
        open_decoder(name, COLUMNS)
    with pytest.raises(ConfigError, match="http://registry"):
        open_decoder(name, COLUMNS, registry="registry:8081")
    (tmp_path / "bad").write_bytes(b"\xff\xff{")
    with pytest.raises(ConfigError, match="bad is no"):
        open_decoder(name, COLUMNS, schema_file=tmp_path / "bad", message="x.Y")


F = descriptor_pb2.FieldDescriptorProto


def order_file() -> descriptor_pb2.FileDescriptorProto:
    """Return a file with shop.Other, shop.Order and shop.Order.Line."""
    file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="shop", syntax="proto3")
    file.dependency.extend(
        ["google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "google/protobuf/wrappers.proto"]
    )
    file.message_type.add(name="Other").field.add(name="x", number=1, type=F.TYPE_INT32, label=F.LABEL_OPTIONAL)
    order = file.message_type.add(name="Order")
    order.enum_type.add(name="Status").value.add(name="OPEN", number=0)
    order.enum_type[0].value.add(name="PAID", number=1)
    plain = [("id", F.TYPE_INT32), ("amount", F.TYPE_INT64), ("name", F.TYPE_STRING), ("price", F.TYPE_STRING)]
    for number, (name, kind) in enumerate(plain, 1):
        order.field.add(name=name, number=number, type=kind, label=F.LABEL_OPTIONAL)
    for number, name, target in (
        (5, "at", ".google.protobuf.Timestamp"),
        (6, "span", ".google.protobuf.Duration"),
        (7, "count", ".google.protobuf.Int64Value"),
    ):
        order.field.add(name=name, number=number, type=F.TYPE_MESSAGE, type_name=target, label=F.LABEL_OPTIONAL)
    order.field.add(name="status", number=8, type=F.TYPE_ENUM, type_name=".shop.Order.Status", label=F.LABEL_OPTIONAL)
    order.field.add(name="scores", number=9, type=F.TYPE_FLOAT, label=F.LABEL_REPEATED)
    order.oneof_decl.add(name="_note")
    order.field.add(
        name="note", number=10, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL, oneof_index=0, proto3_optional=True
    )
    line = order.nested_type.add(name="Line")
    line.field.add(name="id", number=1, type=F.TYPE_INT64, label=F.LABEL_OPTIONAL)
    order.field.add(name="line", number=11, type=F.TYPE_MESSAGE, type_name=".shop.Order.Line", label=F.LABEL_OPTIONAL)
    return file


def classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, duration_pb2, wrappers_pb2):
        proto = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(proto)
        pool.Add(proto)
    pool.Add(order_file())
    names = ("shop.Order", "shop.Order.Line")
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


def an_order() -> Any:
    order = classes()["shop.Order"](id=7, amount=3, price="1.25", status=1, scores=[1.0, 0.5])
    order.at.FromDatetime(AT)
    order.span.FromTimedelta(timedelta(seconds=2))
    return order


ORDER = pa.schema(
    [
        *COLUMNS,
        ("price", pa.decimal128(10, 2)),
        ("span", pa.duration("us")),
        ("count", pa.int64()),
        ("status", pa.string()),
        ("scores", pa.list_(pa.float32())),
        ("note", pa.string()),
        ("not there", pa.int64()),
    ]
)
EXPECTED = {
    "id": 7,
    "amount": 3.0,
    "name": "",
    "at": AT,
    "price": Decimal("1.25"),
    "span": timedelta(seconds=2),
    "count": None,
    "status": "PAID",
    "scores": [1.0, 0.5],
    "note": None,
    "not there": None,
}


def test_protobuf_is_read_by_the_registrys_descriptor(registry: StandInRegistry) -> None:
    """Fields that are not set are null where they can be told from a default; a schema is fetched once."""
    text = base64.b64encode(order_file().SerializeToString()).decode()
    registry.schemas = {1: {"schema": text, "schemaType": "PROTOBUF"}}
    decoder = open_decoder("protobuf", ORDER, registry=registry.url)
    order = an_order()
    value = framed(1, b"\x02\x02" + order.SerializeToString())
    found, failures = rows(decoder, value, value)
    assert failures == {}
    assert [row for _, row in found] == [EXPECTED, EXPECTED]
    assert registry.asked == ["/schemas/ids/1?format=serialized"]


def test_protobuf_messages_are_found_by_their_place_in_the_file(registry: StandInRegistry) -> None:
    """Indexes from the outermost message, in zigzag; a single zero is the first message."""
    text = base64.b64encode(order_file().SerializeToString()).decode()
    registry.schemas = {1: {"schema": text, "schemaType": "PROTOBUF"}}
    decoder = open_decoder("protobuf", pa.schema([("id", pa.int64()), ("x", pa.int64())]), registry=registry.url)
    line = classes()["shop.Order.Line"](id=5).SerializeToString()
    found, failures = rows(
        decoder,
        framed(1, b"\x04\x02\x00" + line),
        framed(1, b"\x00\x08\x09"),
        framed(1, b"\x02\x00\x08\x09"),
        framed(1, b"\x02\x0c"),
        framed(1, b"\x04\x02"),
        framed(1, b"\x01"),
        framed(1, b"\x02\x02\x08"),
        framed(2, b"\x00"),
    )
    assert found == [(0, {"id": 5, "x": None}), (1, {"id": None, "x": 9}), (2, {"id": None, "x": 9})]
    assert list(failures) == [3, 4, 5, 6, 7]
    assert "no message at [6]" in failures[3]


def test_protobuf_is_read_by_a_descriptor_set(tmp_path: Path, registry: StandInRegistry) -> None:
    """With and without the registry's header."""
    file = tmp_path / "order.desc"
    file.write_bytes(descriptor_pb2.FileDescriptorSet(file=[order_file()]).SerializeToString())
    payload = an_order().SerializeToString()
    plain = open_decoder("protobuf", ORDER, schema_file=file, message="shop.Order")
    assert rows(plain, payload) == ([(0, EXPECTED)], {})
    header = open_decoder("protobuf", ORDER, schema_file=file, message="shop.Order", framed=True)
    assert rows(header, framed(9, b"\x02\x02" + payload)) == ([(0, EXPECTED)], {})
    with pytest.raises(ConfigError, match=r"no message 'shop\.Nothing'"):
        open_decoder("protobuf", ORDER, schema_file=file, message="shop.Nothing")
    with pytest.raises(SchemaError, match=r"shop\.Order\.Line fits no column"):
        open_decoder("protobuf", pa.schema([("line", pa.int64())]), schema_file=file, message="shop.Order")


def test_protobuf_values_that_do_not_fit_fail_their_message(tmp_path: Path) -> None:
    """Nanoseconds, texts that are no decimals, enums without a name."""
    file = tmp_path / "order.desc"
    file.write_bytes(descriptor_pb2.FileDescriptorSet(file=[order_file()]).SerializeToString())
    decoder = open_decoder("protobuf", ORDER, schema_file=file, message="shop.Order")
    nanos, price, status = an_order(), an_order(), an_order()
    nanos.at.nanos = 1
    price.price = "cheap"
    status.status = 5
    values = [order.SerializeToString() for order in (nanos, price, status, an_order())]
    found, failures = rows(decoder, *values, b"\xff")
    assert [at for at, _ in found] == [3]
    assert "nanoseconds" in failures[0]
    assert "price: 'cheap'" in failures[1]
    assert "status: 5 is no string" in failures[2]
    assert "not what its schema says" in failures[4]


def test_protobuf_source_text_from_a_registry_is_explained(registry: StandInRegistry) -> None:
    """A registry that cannot give descriptors is of no use."""
    registry.schemas = {1: {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"}}
    _, failures = rows(open_decoder("protobuf", COLUMNS, registry=registry.url), framed(1, b"\x00"))
    assert "no descriptor" in failures[0]
