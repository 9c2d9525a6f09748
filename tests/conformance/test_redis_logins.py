"""Redis with TLS, and with a user who may use the keys of Asof only, as a store and as a stream."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import redis

from asof.backends.redis import open_store, open_stream
from asof.errors import ConfigError, StoreError, StreamRefusedError
from asof.testing.conformance.online import VIEW, OnlineStoreConformance, fill, values
from tests.servers.processes import free_ports
from tests.servers.redis import redis_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asof.interfaces import OnlineStore
    from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow
RIGHTS = ["~asof:*", "+@read", "+@write", "+@scripting", "+@connection"]


def certificate(directory: Path, name: str) -> tuple[str, str]:
    """Make a certificate for the loopback address that signs itself; return its file and that of its key."""
    crt, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            f"/CN={name}",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(crt),
        ],
        check=True,
        capture_output=True,
    )
    return str(crt), str(key)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's directory, with certificates."""
    folder = tmp_path_factory.mktemp("redis-tls")
    for name in ("server", "client", "other"):
        certificate(folder, name)
    return folder


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    """Where a server listens that speaks TLS and asks its clients for a certificate, too."""
    [port] = free_ports(1)
    files = ["--tls-cert-file", "server.crt", "--tls-key-file", "server.key", "--tls-ca-cert-file", "client.crt"]
    with redis_process(folder, "--tls-port", str(port), *files):
        yield port


class TestRedisStoreOverTls(OnlineStoreConformance):
    @pytest.fixture
    def open_store(self, folder: Path, port: int) -> Callable[[], OnlineStore]:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs=server.crt&ssl_certfile=client.crt&ssl_keyfile=client.key"
        store = open_store(url, folder)
        for project in ("shop", "other"):
            for view in store.generations(project):
                store.drop(view)
        store.close()
        return lambda: open_store(url, folder)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "?ssl_ca_certs=other.crt&ssl_certfile=client.crt&ssl_keyfile=client.key",
        "?ssl_ca_certs=server.crt",
        "?ssl_ca_certs=server.crt&ssl_certfile=other.crt&ssl_keyfile=other.key",
    ],
)
def test_a_certificate_that_is_not_trusted_is_refused(folder: Path, port: int, options: str) -> None:
    """The server's by us, unless the URL names who signed it; ours by the server."""
    store = open_store(f"rediss://127.0.0.1:{port}/0{options}", folder)
    with pytest.raises(StoreError, match="could not be read"):
        store.read([(VIEW, [b"a"])])
    store.close()


def test_a_certificate_that_is_not_there_is_an_error_of_the_settings(folder: Path) -> None:
    """It names the option."""
    with pytest.raises(ConfigError, match=r"ssl_ca_certs .*nowhere\.crt"):
        open_store("rediss://127.0.0.1/0?ssl_ca_certs=nowhere.crt", folder)


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A server on which the user of the environment may use keys that begin with asof: and nobody else anything."""
    with redis_process(tmp_path) as server, redis.Redis(server.host, server.port, protocol=2) as admin:
        admin.execute_command("ACL", "SETUSER", "asof", "on", ">open sesame", *RIGHTS)
        admin.execute_command("ACL", "SETUSER", "nobody", "on", ">open sesame", "-@all", "+ping")
        monkeypatch.setenv("ASOF_REDIS_USERNAME", "asof")
        monkeypatch.setenv("ASOF_REDIS_PASSWORD", "open sesame")
        yield server


def test_a_user_of_the_keys_of_asof_can_do_everything(limited: RedisServer, tmp_path: Path) -> None:
    """The rights are those that the documentation names."""
    store = open_store(limited.url, tmp_path)
    with store.exclusive("shop", "orders"):
        fill(store, VIEW, {b"a": b"1"}, instant_us=90)
        fill(store, VIEW, {b"a": b"2"})
    assert values(store, VIEW, [b"a"]) == [b"2"]
    assert set(store.generations("shop")) == {VIEW}
    store.announce([VIEW], 5)
    store.drop(VIEW)
    assert store.generations("shop") == {}
    store.close()


def test_a_login_or_right_that_is_refused_is_an_error_of_the_settings(
    limited: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the variables and never the password."""
    with pytest.raises(StreamRefusedError, match="rights"):
        open_stream(limited.url, tmp_path).consume("orders", "g", lambda _: {})
    for user, password in (("asof", "wrong password"), ("nobody", "open sesame")):
        monkeypatch.setenv("ASOF_REDIS_USERNAME", user)
        monkeypatch.setenv("ASOF_REDIS_PASSWORD", password)
        store = open_store(limited.url, tmp_path)
        with pytest.raises(ConfigError, match="ASOF_REDIS_PASSWORD") as caught:
            store.read([(VIEW, [b"a"])])
        assert password not in str(caught.value)
        with pytest.raises(ConfigError, match="ASOF_REDIS_PASSWORD") as caught:
            store.write(VIEW)
        assert password not in str(caught.value)
        store.close()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("redis://", "redis://host:6379/0"),
        ("redis://host:port", "port"),
        ("redis://ada:secret@host", "ASOF_REDIS_PASSWORD"),
        ("redis://host?password=secret", "ASOF_REDIS_PASSWORD"),
        ("redis://host?budget=0s", "budget"),
        ("redis://host?budget=soon", "500ms"),
        ("redis://host?socket_timeout=soon", "socket_timeout"),
        ("redis://host?no_such=1", "no_such"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_config_error_without_its_secret(tmp_path: Path, url: str, word: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigError, match=word) as caught:
        open_store(url, tmp_path)
    assert "secret" not in str(caught.value)
