"""The server's door, end to end: who gets in, what they are told, and what they see."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asof import FeatureStore
from asof.cli import main
from asof.errors import ConfigError
from asof.server.exposure import Tls, refuse_open
from tests.server.conftest import DEFINITIONS, KEYS, VALUES, Server, make_project, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "/v1/online-features"
BODY: dict[str, Any] = {"service": "fraud", "keys": KEYS}
PAGES = (("POST", PATH), ("GET", "/v1/status"), ("GET", "/metrics"), ("POST", "/v1/push"), ("GET", "/x"))
STREAM = """
from asof import StreamSource
schema = {"customer_id": "int64", "amount": "float64", "ts": "timestamp"}
taps = StreamSource("taps", schema=schema, event_time="ts")
tapped = EventView("tapped", entity=customer, source=taps, features=[Count(windows=["lifetime"])])
"""


@dataclass
class Doors:
    """A server with access on, and a key per role."""

    project: Path
    server: Server
    keys: dict[str, str]
    ids: dict[str, str]

    def ask(self, key: str | None, method: str, path: str, **rest: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys.get(key, key)}"} if key is not None else {}
        return httpx.request(method, self.server.url + path, headers=headers, timeout=60, **rest)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    root = make_project(tmp_path_factory.mktemp("guarded"))
    tagged = DEFINITIONS.replace('features=["country"]\n)', 'features=["country"], tags=["pii"]\n)', 1)
    assert tagged != DEFINITIONS
    (root / "features.py").write_text(tagged + STREAM, encoding="utf-8")
    wanted: dict[str, dict[str, Any]] = {
        "admin": {"role": "admin", "unmask": ["*"]},
        "reader": {"role": "reader"},
        "fraud": {"role": "reader", "services": ["fraud"], "unmask": ["pii"]},
        "masked": {"role": "reader", "services": ["fraud"]},
        "spend": {"role": "reader", "views": ["spend"]},
        "writer": {"role": "writer", "views": ["tapped"]},
        "other": {"role": "admin", "projects": ["another"]},
        "soon": {"role": "reader"},
    }
    with FeatureStore(root) as store:
        store.apply()
        made = {name: store.access.create_key(name, **grant) for name, grant in wanted.items()}
    keys, ids = {name: key for name, (key, _) in made.items()}, {name: one.id for name, (_, one) in made.items()}
    server = start(root, "--push")
    yield Doors(root, server, keys, ids)
    assert server.stop() == 0, "".join(server.log)


def test_nobody_gets_in_without_a_key(doors: Doors) -> None:
    """But to pages that show nothing of the project; what is said names how to get in."""
    for key in (None, "x", "asof_0123456789ab_" + "x" * 43, "a.b.c"):
        for method, path in (
            ("POST", PATH),
            ("GET", "/v1/status"),
            ("GET", "/metrics"),
            ("POST", "/v1/push"),
            ("GET", "/x"),
        ):
            found = doors.ask(key, method, path)
            assert (found.status_code, found.json()["error"]["code"]) == (401, "unauthenticated")
            assert found.headers["www-authenticate"] == 'Bearer realm="asof"'
    for path in ("/health", "/ready", "/docs", "/openapi.json"):
        assert doors.ask(None, "GET", path).status_code == 200
    assert "not_materialized" not in doors.ask(None, "GET", "/ready").json()


def test_a_key_reads_what_it_is_for(doors: Doors) -> None:
    """A service and its pinned versions; the views in it are another right."""
    assert [row["values"] for row in doors.ask("fraud", "POST", PATH, json=BODY).json()["results"]] == VALUES
    pinned = {**BODY, "service": "fraud@1"}
    assert doors.ask("fraud", "POST", PATH, json=pinned).status_code == 200
    listed = {"features": ["spend:count_lifetime"], "keys": KEYS}
    assert doors.ask("fraud", "POST", PATH, json=listed).status_code == 403
    assert doors.ask("spend", "POST", PATH, json=listed).status_code == 200
    assert doors.ask("spend", "POST", PATH, json=BODY).status_code == 403
    for nothing in ("writer", "other"):
        assert doors.ask(nothing, "POST", PATH, json=BODY).status_code == 403


def test_values_are_masked_over_http(doors: Doors) -> None:
    """Null and `masked`, in JSON and in Arrow."""
    found = doors.ask("masked", "POST", PATH, json={**BODY, "metadata": True}).json()
    place = found["features"].index("profile__country")
    assert [row["values"][place] for row in found["results"]] == [None] * 3
    assert [row["statuses"][place] for row in found["results"]] == ["masked"] * 3
    assert {row["event_times"]["profile"] for row in found["results"]} == {None}
    rows: Any = VALUES
    assert [row["values"][:2] for row in found["results"]] == [row[:2] for row in rows]


def test_unknown_and_forbidden_names_look_alike(doors: Doors) -> None:
    """Word for word, but for the name; whoever may see everything is told what there is."""
    for kind, known in (("service", "offer"), ("features", "weather")):
        texts = []
        for name in (known, "nothing"):
            asked: dict[str, Any] = {kind: name if kind == "service" else [f"{name}:x"], "keys": {}}
            found = doors.ask("masked", "POST", PATH, json=asked)
            assert found.status_code == 403
            assert 'error="insufficient_scope"' in found.headers["www-authenticate"]
            body = found.json()["error"]
            assert body.pop("request_id")
            texts.append(str(body).replace(name, "NAME"))
        assert texts[0] == texts[1]
    unknown = doors.ask("reader", "POST", PATH, json={"service": "nothing", "keys": {}})
    assert unknown.status_code == 404
    for path in ("/v1/registry/services/offer", "/v1/registry/services/nothing"):
        assert doors.ask("fraud", "GET", path).status_code == 403


def test_lists_name_what_may_be_seen(doors: Doors) -> None:
    """And pages about everything are for those who may see everything."""
    assert [one["name"] for one in doors.ask("fraud", "GET", "/v1/registry/services").json()] == ["fraud"]
    assert doors.ask("fraud", "GET", "/v1/registry/views").json() == []
    assert doors.ask("fraud", "GET", "/v1/registry/services/fraud").status_code == 200
    assert len(doors.ask("reader", "GET", "/v1/registry/views").json()) > 3
    for path in ("/v1/status", "/v1/registry/revisions", "/metrics"):
        assert doors.ask("reader", "GET", path).status_code == 200
        assert doors.ask("fraud", "GET", path).status_code == 403
    assert doors.ask("reader", "GET", "/nothing").status_code == 403
    assert doors.ask("admin", "GET", "/nothing").status_code == 404


def test_pushing_is_a_writers_of_every_view_over_the_source(doors: Doors) -> None:
    """It is in the audit log when it is answered."""
    rows = {"source": "taps", "rows": [{"customer_id": 1, "amount": 1.0, "ts": "2026-01-01T00:00:00Z"}]}
    for key in ("reader", "spend", "other"):
        assert doors.ask(key, "POST", "/v1/push", json=rows).status_code == 403
    for key in ("writer", "admin"):
        assert doors.ask(key, "POST", "/v1/push", json=rows).json()["taken"] == 1
    assert doors.ask("writer", "POST", "/v1/push", json={**rows, "source": "nothing"}).status_code == 403
    with FeatureStore(doors.project) as store:
        found = [one.record.who for one in store.access.audit(what="source:taps") if one.record.outcome == "allowed"]
    assert found[::-1] == [f"key:{doors.ids[name]} ({name})" for name in ("writer", "admin")]


def test_a_revoked_key_is_refused_while_the_server_runs(doors: Doors) -> None:
    """Within two seconds, and not at once: so the test waits for it."""
    assert doors.ask("soon", "POST", PATH, json=BODY).status_code == 200
    with FeatureStore(doors.project) as store:
        store.access.revoke_key(doors.ids["soon"])
    deadline = time.monotonic() + 60
    while doors.ask("soon", "POST", PATH, json=BODY).status_code != 401:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "::", "shop.example.com", ""])
def test_others_are_not_served_while_access_is_off(host: str) -> None:
    with pytest.raises(ConfigError, match="while access is off"):
        refuse_open(host, access=False, insecure=False)
    refuse_open(host, access=True, insecure=False)
    refuse_open(host, access=False, insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_this_machine_is_served(host: str) -> None:
    refuse_open(host, access=False, insecure=False)


def test_the_command_refuses_to_serve_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before it listens, with what to do."""
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    with pytest.raises(SystemExit) as exit_:
        main(["--project", str(tmp_path), "serve", "--host", "0.0.0.0", "--port", "0"])
    assert exit_.value.code == ConfigError.exit_code
    assert "--insecure" in capsys.readouterr().err


def certificate(name: str, issuer: tuple[x509.Certificate, Any] | None = None) -> tuple[x509.Certificate, Any]:
    """Return a certificate for this machine, and its key; without an issuer it issues others."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    signer = key if issuer is None else issuer[1]
    found = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return found, key


def write(folder: Path, name: str, pair: tuple[x509.Certificate, Any]) -> tuple[Path, Path]:
    """Write a certificate and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        pair[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert, key


def test_tls_with_certificates_of_clients(tmp_path: Path) -> None:
    """Who shows none is not answered; who shows one still needs a key where access is on."""
    files, project = tmp_path / "tls", tmp_path / "shop"
    files.mkdir()
    project.mkdir()
    make_project(project)
    issuer = certificate("issuer")
    ca, _ = write(files, "ca", issuer)
    cert, key = write(files, "server", certificate("server", issuer))
    trusting = ssl.create_default_context(cafile=str(ca))
    known = ssl.create_default_context(cafile=str(ca))
    known.load_cert_chain(*write(files, "client", certificate("client", issuer)))
    options = ["--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(ca)]
    server = start(project, *options, verify=known)
    try:
        assert server.url.startswith("https://")
        found = httpx.post(server.url + PATH, json=BODY, verify=known, timeout=60).json()
        assert [row["values"] for row in found["results"]] == VALUES
        with pytest.raises(httpx.TransportError):
            httpx.post(server.url + PATH, json=BODY, verify=trusting, timeout=60)
        with pytest.raises(httpx.TransportError):
            httpx.post(server.url + PATH, json=BODY, timeout=60)
    finally:
        server.stop()


def test_files_that_are_no_certificate_are_refused_before_serving(tmp_path: Path) -> None:
    cert, _ = write(tmp_path, "one", certificate("one"))
    _, key = write(tmp_path, "two", certificate("two"))
    for wrong in (Tls(cert, key), Tls(cert, cert), Tls(tmp_path / "none.pem", key)):
        with pytest.raises(ConfigError, match="files of TLS"):
            wrong.options()
