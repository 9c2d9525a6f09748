"""How a client asks: headers, kept connections, tries again or not, time limits, threads, forks, TLS."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from asof.client import AsyncClient, Client
from asof.errors import (
    AsofError,
    ConfigError,
    ConflictError,
    InputError,
    NotFoundError,
    NotMaterializedError,
    ServerError,
    ServerTimeoutError,
    StoreError,
)
from tests.client.scripted import FEATURES, HALF, HANG_UP, SILENCE, Scripted, answer, error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = {"customer_id": [1]}
PUSHED = answer(
    200,
    {
        "source": "s",
        "taken": 1,
        "repeated": 0,
        "refused": 0,
        "reasons": [],
        "entry": 1,
        "at": "2026-01-01T00:00:00Z",
        "behind": {"v@1": {"code": "value_out_of_range", "what": "Too much", "why": "", "fix": ""}},
    },
)
Call = Any


def blocking(url: str, call: Callable[[Any], Any], **options: Any) -> Any:
    with Client(url, **{"timeout_s": 60, **options}) as client:
        return call(client)


def asynchronous(url: str, call: Callable[[Any], Any], **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, **{"timeout_s": 60, **options}) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.fixture(params=[blocking, asynchronous])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return what makes a client, calls it, and closes it: of either kind."""
    made: Callable[..., Any] = request.param
    return made


def read(client: Any) -> Any:
    return client.get_online_features("fraud", KEYS)


def push(client: Any) -> Any:
    return client.push("s", [{"a": 1}])


def head_of(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}


def test_a_request_has_its_key_its_id_and_more_headers(ask: Any, scripted: Scripted) -> None:
    found = ask(
        scripted.url + "/prefix/",
        lambda client: client.get_online_features("fraud", KEYS, request_id="r-7"),
        api_key="secret",
        headers={"X-Team": "risk"},
    )
    assert (found.request_id, found.to_dict()) == ("r-7", {"a": [7]})
    [request] = scripted.requests
    assert request.startswith(b"POST /prefix/v1/online-features HTTP/1.1\r\n")
    head = head_of(request)
    assert head["authorization"] == "Bearer secret"
    assert (head["x-request-id"], head["x-team"], head["host"]) == ("r-7", "risk", scripted.url[7:])
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {
        "keys": KEYS,
        "metadata": False,
        "service": "fraud",
        "types": True,
    }


def test_the_key_may_come_from_the_environment(ask: Any, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASOF_API_KEY", "from-env")
    ask(scripted.url, read)
    ask(scripted.url, read, api_key="")
    assert [head_of(one).get("authorization") for one in scripted.requests] == ["Bearer from-env", None]
    ids = {head_of(one)["x-request-id"] for one in scripted.requests}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "failure", [HANG_UP, HALF, b"no HTTP at all\r\n\r\n", error(503, "store_failed"), error(429, "busy")]
)
def test_a_read_is_tried_again_and_a_push_is_not(ask: Any, scripted: Scripted, failure: Any) -> None:
    """Unless the server said "not now" to a push, it may have taken the rows; and that it said cannot be told."""
    scripted.answers.extendleft([failure, failure])
    assert ask(scripted.url, read).to_dict() == {"a": [7]}
    assert len(scripted.requests) == 3
    scripted.answers.extendleft([failure])
    with pytest.raises((ServerError, StoreError)) as raised:
        ask(scripted.url, push)
    assert len(scripted.requests) == 4
    assert raised.value.retryable
    assert raised.value.__notes__[0].startswith("request ")


def test_after_its_tries_a_read_gives_up_with_the_last_error(ask: Any, scripted: Scripted) -> None:
    scripted.answers = type(scripted.answers)([error(503, "store_failed")])
    with pytest.raises(StoreError, match=r"It failed\. So it is\. Wait"):
        ask(scripted.url, read, retries=3)
    assert len(scripted.requests) == 4


def test_nothing_is_tried_again_past_the_time_of_the_call(ask: Any, scripted: Scripted) -> None:
    """A server that asks for a longer pause than is left gets no second request."""
    scripted.answers = type(scripted.answers)([error(503, "store_failed", "retry-after: 100")])
    with pytest.raises(StoreError):
        ask(scripted.url, read)
    assert len(scripted.requests) == 1
    scripted.answers = type(scripted.answers)([SILENCE])
    for call in (read, push):
        with pytest.raises(ServerTimeoutError, match="did not answer in time") as raised:
            ask(scripted.url, call, timeout_s=0.05)
        assert isinstance(raised.value, TimeoutError)
        assert ("not known" in str(raised.value)) == (call is push)


def test_no_server_is_an_error_that_names_it(ask: Any) -> None:
    with Scripted() as gone:
        url = gone.url
    for call in (read, push):
        with pytest.raises(ServerError, match=f"{url} could not be made"):
            ask(url, call, retries=1)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "not_found", NotFoundError),
        (409, "not_materialized", NotMaterializedError),
        (409, "conflict", ConflictError),
        (413, "body_too_large", InputError),
        (403, "of_the_future", InputError),
        (418, "of_the_future", InputError),
        (500, "of_the_future", ServerError),
    ],
)
def test_errors_are_of_the_library_s_classes(ask: Any, scripted: Scripted, status: int, code: str, kind: Any) -> None:
    """One with a code that this version does not know is of the class nearest to its status, with that code."""
    scripted.answers = type(scripted.answers)([error(status, code)])
    with pytest.raises(kind) as raised:
        ask(scripted.url, read)
    found = raised.value
    assert isinstance(found, AsofError)
    assert (found.code, found.http_status, found.what, found.why, found.fix) == (
        code,
        status,
        "It failed",
        "So it is",
        "Wait",
    )
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("body", [answer(200, {"hello": 1}), answer(502, "a proxy"), answer(200, [1])])
def test_what_is_no_answer_of_ours_is_said_so(ask: Any, scripted: Scripted, body: bytes) -> None:
    scripted.answers = type(scripted.answers)([body])
    with pytest.raises(ServerError, match="URL"):
        ask(scripted.url, read, retries=0)


def test_what_a_push_left_behind_is_told_as_errors(ask: Any, scripted: Scripted) -> None:
    scripted.answers = type(scripted.answers)([PUSHED])
    done = ask(scripted.url, push)
    assert (done.taken, done.readable, done.behind["v@1"].code) == (1, False, "value_out_of_range")


def test_a_partial_answer_says_what_failed(ask: Any, scripted: Scripted) -> None:
    body = json.loads(FEATURES.partition(b"\r\n\r\n")[2])
    body["errors"] = {"spend": {"code": "store_failed", "what": "It failed", "why": "", "fix": ""}}
    scripted.answers = type(scripted.answers)([answer(200, body)])
    found = ask(scripted.url, lambda client: client.get_online_features("fraud", KEYS, partial=True))
    assert isinstance(found.failures["spend"], StoreError)
    assert json.loads(scripted.requests[0].partition(b"\r\n\r\n")[2])["partial"] is True
    assert ask(scripted.url, read).to_dict() == {"a": [7]}


def test_one_connection_carries_many_requests(ask: Any, scripted: Scripted) -> None:
    def three(client: Any) -> Any:
        if isinstance(client, Client):
            return [read(client) for _ in range(3)]

        async def run() -> Any:
            return [await read(client) for _ in range(3)]

        return run()

    assert [one.to_dict() for one in ask(scripted.url, three)] == [{"a": [7]}] * 3
    assert (scripted.connections, len(scripted.requests)) == (1, 3)


def test_connections_that_the_server_says_it_closes_are_not_kept(scripted: Scripted) -> None:
    scripted.answers = type(scripted.answers)(
        [answer(200, json.loads(FEATURES.partition(b"\r\n\r\n")[2]), "connection: close")]
    )
    with Client(scripted.url, timeout_s=60) as client:
        read(client)
        read(client)
    assert scripted.connections == 2


def test_a_connection_that_was_closed_while_idle_is_replaced(scripted: Scripted) -> None:
    """Also under a push, which is not sent twice: the closed connection is found out before."""
    with Client(scripted.url, timeout_s=60, retries=0) as client:
        for call in (read, push):
            scripted.answers = type(scripted.answers)([FEATURES])
            read(client)
            scripted.hang_up()
            scripted.answers = type(scripted.answers)([PUSHED if call is push else FEATURES])
            while call is push and client._pool._idle[-1].usable():
                pass  # until this end has heard of it
            call(client)
    assert len(scripted.requests) == 4


def test_threads_share_a_client(scripted: Scripted) -> None:
    """Every thread gets its own answers; no more connections stay than are to be kept."""
    found: list[Any] = []
    with Client(scripted.url, timeout_s=60, idle=2) as client:

        def work(thread: int) -> None:
            for number in range(20):
                answer = client.get_online_features("fraud", KEYS, request_id=f"{thread}-{number}")
                found.append(answer.request_id if answer.to_dict() == {"a": [7]} else None)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(client._pool._idle) <= 2
    assert len(set(found)) == 160
    assert None not in found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_its_own_connections(scripted: Scripted) -> None:
    """Parent and child go on with one client, and neither gets the other's answers."""
    with Client(scripted.url, timeout_s=60) as client:
        read(client)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if read(client).to_dict() == {"a": [7]} else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert scripted.connections == 2
        read(client)
        assert scripted.connections == 2


def _certificate(directory: Path) -> tuple[Path, Path]:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_tls_trusts_whom_it_is_told_to(ask: Any, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Scripted(context) as server:
        assert ask(server.url, read, ca_file=str(certificate)).to_dict() == {"a": [7]}
        own = ssl.create_default_context(cafile=certificate)
        assert ask(server.url, read, tls=own).to_dict() == {"a": [7]}
        with pytest.raises(ServerError, match="certificate"):
            ask(server.url, read, retries=0)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "localhost:6566"},
        {"url": "ftp://localhost"},
        {"url": "http://"},
        {"url": "http://localhost:99999"},
        {"url": "http://me:secret@localhost"},
        {"headers": {"X-A": "a\r\nX-B: b"}},
        {"api_key": "naïve"},
        {"timeout_s": 0},
        {"retries": -1},
        {"url": "https://localhost", "ca_file": "nowhere.pem"},
    ],
)
def test_unusable_settings_are_refused_without_showing_secrets(options: dict[str, Any]) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigError) as raised:
            kind(**{"url": "http://localhost:6566", **options})
        assert "secret" not in str(raised.value)
        assert "naïve" not in str(raised.value)
