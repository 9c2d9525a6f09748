"""A bucket that is not there, refuses, does not answer or loses an answer: an error that says so, and nothing lost."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import obstore
import pytest

from asof.backends.objects import location, open_place
from asof.config import load_config
from asof.errors import ConfigError, StoreError
from tests.servers.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof.interfaces import Files
    from tests.servers.objects import ObjectServer


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "RETRIES", 0)


@pytest.fixture
def files(object_server: ObjectServer, tmp_path: Path) -> Files:
    return open_place(object_server.url(), tmp_path).files("log")


@pytest.fixture
def silent() -> Iterator[int]:
    """Give a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def write(path: Path) -> None:
    path.write_bytes(b"mine")


def test_a_bucket_that_is_not_there_is_named(object_server: ObjectServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no bucket s3://absent") as caught:
        open_place("s3://absent/prefix", tmp_path).files("log").items()
    assert "Make the bucket" in caught.value.fix


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys_are_told(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "wrong")
    files = open_place(object_server.url(), tmp_path).files("log")
    for use in (files.items, lambda: files.find("a"), lambda: files.create("a", write)):
        with pytest.raises(StoreError, match="is denied") as caught:
            use()
        assert "AWS_ACCESS_KEY_ID" in caught.value.fix


def test_a_server_that_is_not_there_is_told(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        open_place(object_server.url(), tmp_path).files("log").items()
    assert "AWS_ENDPOINT_URL" in caught.value.fix


def test_a_server_that_does_not_answer_is_told(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: int
) -> None:
    monkeypatch.setattr(location, "TIMEOUT_S", 0.3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent}")
    with pytest.raises(StoreError, match="did not answer in time"):
        open_place(object_server.url(), tmp_path).files("log").items()


def test_a_write_whose_answer_was_lost_is_known_as_ones_own(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the client repeats it and finds the name taken, or gives up."""
    put = obstore.put

    def repeated(*arguments: Any, **named: Any) -> Any:
        put(*arguments, **named)
        return put(*arguments, **named)

    def cut(*arguments: Any, **named: Any) -> Any:
        put(*arguments, **named)
        raise obstore.exceptions.GenericError("connection closed")

    files.items()
    for name, broken in (("a", repeated), ("b", cut)):
        with monkeypatch.context() as patch:
            patch.setattr(obstore, "put", broken)
            files.create(name, write)
    with pytest.raises(FileExistsError):
        files.create("a", lambda path: path.write_bytes(b"another's"))
    assert [item.name for item in files.items()] == ["a", "b"]


def test_a_removal_that_was_cut_off_hides_the_rest_and_is_ended_later(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever writes there next."""
    folder = files.below("old")
    for name in ("a", "b", "c"):
        folder.create(name, write)
    calls = []

    def cut(store: Any, key: str) -> None:
        calls.append(key)
        if len(calls) == 2:
            raise obstore.exceptions.GenericError("connection closed")
        delete(store, key)

    delete = obstore.delete
    with monkeypatch.context() as patch:
        patch.setattr(obstore, "delete", cut)
        with pytest.raises(StoreError):
            files.remove_folder("old")
    assert folder.items() == []
    folder.tidy()
    folder.create("d", write)
    assert [item.name for item in folder.items()] == ["d"]


def test_a_copy_has_what_its_tag_says(files: Files) -> None:
    """Who reads by an old list gets what is there now; and when the old bytes come back, so does their tag."""

    def put(text: str) -> None:
        files.replace("a", lambda path: path.write_text(text))

    put("one")
    [listed] = files.items()
    put("two")
    assert files.fetch(listed).read_text() == "two"
    put("one")
    [again] = files.items()
    assert again.tag == listed.tag
    assert files.fetch(again).read_text() == "one"


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s3://bucket/prefix?region=eu", "s3://key@bucket/prefix"])
def test_a_url_is_a_bucket_and_a_prefix(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="not a bucket and a prefix"):
        open_place(url, tmp_path)


def test_keys_are_not_for_the_settings(tmp_path: Path) -> None:
    (tmp_path / "asof.toml").write_text('project = "shop"\noffline = "s3://key:secret@bucket/prefix"\n')
    with pytest.raises(ConfigError, match="holds a password"):
        load_config(tmp_path, {})


def test_gcs_and_azure_are_opened_by_the_same_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server nothing more can be tested here than that their clients are made."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    made = [type(location._open(url)).__name__ for url in ("gs://bucket/prefix", "az://container/prefix")]
    assert made == ["GCSStore", "AzureStore"]


def test_threads_share_a_place(files: Files) -> None:
    threads = [threading.Thread(target=files.create, args=(f"{number}", write)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [item.name for item in files.items()] == [f"{number}" for number in range(8)]
