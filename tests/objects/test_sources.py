"""Files and Delta tables in a bucket give what the same ones give on local disk."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from obstore.store import from_url

from asof import DeltaSource, Entity, EventView, FeatureService, FeatureStore, FileSource, Last, StateView, Sum
from asof.clock import FixedClock, to_us
from asof.errors import ConflictError, SchemaError, SourceError
from asof.services.training_sets import TrainingSets
from tests.unit.stream_project import NOW, START, apply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.objects import ObjectServer

CUSTOMER = Entity("customer", join_key="customer_id")


@pytest.fixture
def url(object_server: ObjectServer) -> str:
    return object_server.url()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "asof.toml").write_text('project = "shop"\ndefinitions = []\n', encoding="utf-8")
    with FeatureStore(tmp_path, clock=FixedClock(to_us(NOW))) as store:
        yield store


def rows(start: int, count: int) -> pa.Table:
    hours = [START + timedelta(hours=number) for number in range(start, start + count)]
    amounts = [None if number % 5 == 4 else number / 3 for number in range(start, start + count)]
    return pa.table({"customer_id": [number % 3 for number in range(count)], "ts": hours, "amount": amounts})


def uploaded(directory: Path, url: str) -> None:
    """Put what is in a directory below a URL."""
    client = from_url(url, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options={"allow_http": True})
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            obstore.put(client, str(path.relative_to(directory)), path.read_bytes())


def written(directory: Path) -> Path:
    """Write the same rows in each format, with columns in folders, and files that are none of a source's."""
    for number, region in enumerate(("eu", "us")):
        table = rows(4 * number, 4)
        (directory / f"parquet/region={region}").mkdir(parents=True)
        pq.write_table(table, directory / f"parquet/region={region}/{number}.parquet")
        texts = [
            {"customer_id": one["customer_id"], "ts": one["ts"].isoformat(), "amount": one["amount"]}
            for one in table.to_pylist()
        ]
        lines = ["customer_id,ts,amount", *(",".join("" if v is None else str(v) for v in t.values()) for t in texts)]
        (directory / f"csv/{region}").mkdir(parents=True)
        (directory / f"csv/{region}/rows.csv").write_text("\n".join(lines), encoding="utf-8")
        (directory / f"ndjson-{region}.jsonl").write_text(as_json(texts), encoding="utf-8")
    (directory / "csv/_SUCCESS.csv").write_text("not a file of the source", encoding="utf-8")
    (directory / "csv/note.txt").write_text("neither", encoding="utf-8")
    return directory


def as_json(texts: list[dict[str, object]]) -> str:
    return "\n".join(json.dumps(one) for one in texts)


def answers(store: FeatureStore, source: FileSource | DeltaSource, extra: str | None = None) -> pa.Table:
    """Return training rows of a window and a state over a source."""
    views = [
        EventView(
            "spend",
            entity=CUSTOMER,
            source=source,
            features=[Sum("amount", windows=["1d"]), *([Last(extra)] if extra else [])],
        ),
        StateView("latest", entity=CUSTOMER, source=source, features=["amount"]),
    ]
    spine = {
        "customer_id": [0, 1, 2, 9] * 3,
        "event_timestamp": [START + timedelta(hours=hours) for hours in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)],
    }
    with store.get_historical_features(views, spine) as found:
        return found.to_arrow()


@pytest.mark.parametrize(
    ("path", "extra"),
    [
        ("parquet", "region"),
        ("parquet/*/*.parquet", "region"),
        ("parquet/region=eu/0.parquet", None),
        ("csv/**/*.csv", None),
        ("csv/", None),
        ("ndjson-*.jsonl", None),
    ],
)
def test_files_in_a_bucket_give_the_same_rows(
    store: FeatureStore, url: str, tmp_path: Path, path: str, extra: str | None
) -> None:
    """By name, glob and prefix, in each format, with columns from folders, bit for bit and in the same order."""
    written(tmp_path / "data")
    uploaded(tmp_path / "data", url)
    kind = next(kind for kind in ("parquet", "csv", "ndjson") if path.startswith(kind))
    there = FileSource("rows", path=f"{url}/{path}", event_time="ts", format=kind)
    here = FileSource("rows", path=f"data/{path}", event_time="ts", format=kind)
    found = answers(store, there, extra)
    assert found.equals(answers(store, here, extra))
    assert found["spend__amount_sum_1d"].null_count < found.num_rows


def test_a_training_set_names_the_objects_and_is_rebuilt_from_these_alone(
    store: FeatureStore, url: str, tmp_path: Path
) -> None:
    """By URL, size, ETag and hash; others that came since do not matter, and one that was replaced is named."""
    written(tmp_path / "data")
    uploaded(tmp_path / "data", url)
    source = FileSource("rows", path=f"{url}/csv", event_time="ts", format="csv")
    view = StateView("latest", entity=CUSTOMER, source=source, features=["amount"])
    apply(store, view, FeatureService("fraud", features=[view]))
    store.materialize()
    online = store.get_online_features("fraud", {"customer_id": [0, 1, 2]}).to_dict()
    spine = {"customer_id": [0, 1, 2], "event_timestamp": [NOW] * 3}
    made = store.create_training_set("march", "fraud", spine)
    before = made.to_arrow()
    assert before["latest__amount"].to_pylist() == online["latest__amount"]
    files = made.manifest.inputs[0].files
    assert [file.path for file in files] == [f"{url}/csv/eu/rows.csv", f"{url}/csv/us/rows.csv"]
    assert [file.size_bytes for file in files] == [
        (tmp_path / f"data/csv/{region}/rows.csv").stat().st_size for region in ("eu", "us")
    ]
    assert all(file.tag and len(file.sha256) == 64 for file in files)
    more = tmp_path / "more"
    (more / "csv/eu").mkdir(parents=True)
    (more / "csv/eu/later.csv").write_text("customer_id,ts,amount\n0,2026-01-02T00:00:00,9\n", encoding="utf-8")
    uploaded(more, url)
    assert store.rebuild_training_set("march").to_arrow() == before
    (more / "csv/eu/later.csv").rename(more / "csv/eu/rows.csv")
    uploaded(more, url)
    with pytest.raises(SourceError, match=f"file {url}/csv/eu/rows.csv changed"):
        store.rebuild_training_set("march")


def test_an_object_that_is_replaced_while_it_is_read_is_told(
    store: FeatureStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even by one of the same size in the same second."""
    (tmp_path / "data").mkdir()
    file = tmp_path / "data/rows.csv"
    file.write_text("customer_id,ts,amount\n0,2026-01-02T00:00:00,1\n", encoding="utf-8")
    uploaded(tmp_path / "data", url)
    source = FileSource("rows", path=f"{url}/rows.csv", event_time="ts")
    view = StateView("latest", entity=CUSTOMER, source=source, features=["amount"])
    apply(store, view, FeatureService("fraud", features=[view]))
    write = TrainingSets._write_data

    def slow(self: TrainingSets, *arguments: object) -> object:
        found = write(self, *arguments)  # type: ignore[arg-type]
        file.write_text("customer_id,ts,amount\n0,2026-01-02T00:00:00,2\n", encoding="utf-8")
        uploaded(tmp_path / "data", url)
        return found

    monkeypatch.setattr(TrainingSets, "_write_data", slow)
    with pytest.raises(ConflictError, match=r"rows\.csv changed"):
        store.create_training_set("one", "fraud", {"customer_id": [0], "event_timestamp": [NOW]})


def test_what_is_wrong_is_told_by_url(store: FeatureStore, url: str, tmp_path: Path) -> None:
    """Nothing there, an empty file, a damaged line, no such bucket; copies on this machine are not named."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/empty.csv").write_bytes(b"")
    (tmp_path / "data/bad.csv").write_text("customer_id,ts,amount\n0,2026-01-02T00:00:00,1,7\n", encoding="utf-8")
    (tmp_path / "data/twice.csv").write_text("ts,ts,customer_id,amount\n", encoding="utf-8")
    uploaded(tmp_path / "data", url)

    def error(path: str, kind: type[Exception] = SourceError) -> str:
        with pytest.raises(kind) as caught:
            answers(store, FileSource("rows", path=path, event_time="ts", format="csv"))
        assert ".asof" not in str(caught.value)
        return str(caught.value)

    assert f"there is no csv file at {url}/absent.csv" in error(f"{url}/absent.csv")
    assert f"there is no csv file at {url}/none/*.csv" in error(f"{url}/none/*.csv")
    assert f"file {url}/empty.csv is empty" in error(f"{url}/empty.csv")
    assert f"file {url}/bad.csv" in error(f"{url}/bad.csv")
    assert f"file {url}/twice.csv" in error(f"{url}/twice.csv", SchemaError)
    assert "There is no bucket s3://absent" in error("s3://absent/data/*.csv")
    assert "names no bucket" in error("s3://buck*/data.csv")
    assert "There is no offline store for 'http://" in error("http://example.com/data/rows.csv")


def test_a_delta_table_in_a_bucket_gives_the_same_rows(
    store: FeatureStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client reads the same variables; an old version can be read and rebuilt from."""
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ALLOW_HTTP", "true")
        for place in (f"{url}/table", str(tmp_path / "table")):
            for start in (0, 4):
                write_deltalake(place, rows(start, 4), mode="append")
    there = DeltaSource("rows", path=f"{url}/table", event_time="ts")
    assert answers(store, there).equals(answers(store, DeltaSource("rows", path="table", event_time="ts")))
    view = StateView("latest", entity=CUSTOMER, source=there, features=["amount"])
    apply(store, view, FeatureService("fraud", features=[view]))
    spine = {"customer_id": [0, 1, 2], "event_timestamp": [NOW] * 3}
    before = store.create_training_set("march", "fraud", spine).to_arrow()
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    write_deltalake(f"{url}/table", rows(8, 4), mode="append")
    assert store.rebuild_training_set("march").to_arrow() == before
