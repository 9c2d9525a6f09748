"""A server under clients that ask too slowly, too long-windedly, too often or too much at once."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from asof.store import FeatureStore
from tests.server.conftest import KEYS, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.conftest import Server

PATH = "/v1/online-features"
BODY = {"service": "fraud", "keys": KEYS}
HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def guarded(project: Path) -> Iterator[Server]:
    """A server that waits half a second at most for a request."""
    server = start(project, "--body-timeout", "500ms")
    yield server
    assert server.stop() == 0, "".join(server.log)


@pytest.fixture(scope="module")
def reading(project: Path) -> Iterator[Server]:
    """A server that only reads, one request at a time, with short headers."""
    server = start(project, "--read-only", "--max-headers", "4096", "--max-at-once", "1")
    yield server
    assert server.stop() == 0, "".join(server.log)


def say(server: Server, *parts: bytes) -> bytes:
    """Send parts of a request and return all that comes back until the server hangs up."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    return answer


def metric(server: Server, name: str) -> float:
    while (answer := httpx.get(server.url + "/metrics", timeout=60)).status_code != 200:
        continue  # this process was held up for longer than the server waits
    text = answer.text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD.encode()],
        [f"{HEAD}content-length: 100\r\n\r\n".encode(), b'{"service": '],
        [f"{HEAD}content-length: 0\r\n\r\n{HEAD}".encode()],
    ],
    ids=["headers", "body", "second request"],
)
def test_a_request_that_never_ends_is_hung_up_on(guarded: Server, parts: list[bytes]) -> None:
    """Whoever sent the beginning of one is told so."""
    before = metric(guarded, 'asof_errors_total{code="request_too_slow"}')
    answer = say(guarded, *parts)
    assert b"HTTP/1.1 408" in answer
    assert b"request_too_slow" in answer
    assert metric(guarded, 'asof_errors_total{code="request_too_slow"}') > before


def test_a_connection_that_says_nothing_is_closed(guarded: Server) -> None:
    assert say(guarded) == b""


@pytest.mark.parametrize("size", [5000, 500_000])
def test_long_headers_are_refused(reading: Server, size: int) -> None:
    """In one piece, or many."""
    host, port = reading.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        try:
            connection.sendall(f"{HEAD}x-long: {'x' * size}\r\ncontent-length: 0\r\n\r\n".encode())
            answer = connection.recv(65536)
        except ConnectionError:  # it hung up while this was being sent
            return
    assert b"HTTP/1.1 431" in answer
    assert b"headers_too_large" in answer


def test_a_large_body_does_not_count_as_headers(reading: Server) -> None:
    keys = {"customer_id": [17] * 5000}
    response = httpx.post(reading.url + PATH, json={"service": "fraud", "keys": keys}, timeout=60)
    assert response.status_code == 200


def test_pipelined_requests_are_answered_in_turn(reading: Server) -> None:
    body = b'{"service": "fraud", "keys": {"customer_id": [17]}}'
    one = f"{HEAD}content-length: {len(body)}\r\n\r\n".encode() + body
    last = one.replace(b"host: x", b"host: x\r\nconnection: close")
    assert say(reading, one * 5 + last).count(b"HTTP/1.1 200") == 6


def test_a_time_of_its_own_is_checked_and_kept(reading: Server) -> None:
    for timeout_ms, status in ((60_000, 200), (0, 400)):
        answer = httpx.post(reading.url + PATH, json={**BODY, "timeout_ms": timeout_ms}, timeout=60)
        assert answer.status_code == status


def test_a_client_over_its_budget_is_told_when_to_come_back_and_health_is_not_counted(project: Path) -> None:
    server = start(project, "--client-requests", "0.001", "--client-keys", "1000")
    with httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.post(PATH, json=BODY).status_code == 200
        refused = client.post(PATH, json=BODY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "over_budget")
        assert 0 < int(refused.headers["retry-after"]) <= 1000
        assert client.get("/v1/status").status_code == 429
        for path in ("/health", "/ready", "/metrics"):
            assert client.get(path).status_code == 200
    assert metric(server, 'asof_errors_total{code="over_budget"}') == 2
    assert server.stop() == 0, "".join(server.log)


def test_a_full_server_refuses_at_once_and_stays_alive_and_ready(project: Path) -> None:
    """Nobody may wait here, and a burst of pipelined requests comes in one piece."""
    server = start(project, "--max-at-once", "1", "--max-waiting", "0")
    body = b'{"service": "fraud", "keys": {"customer_id": [17]}}'
    one = f"{HEAD}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
    host, port = server.url.removeprefix("http://").split(":")
    # The body of each but its last byte; then all last bytes before the server looks at the first.
    connections = [socket.create_connection((host, int(port)), timeout=60) for _ in range(50)]
    for connection in connections:
        connection.sendall(one[:-1])
    for connection in connections:
        connection.sendall(one[-1:])
    answers = []
    for connection in connections:
        with connection:
            answer = b""
            while received := connection.recv(65536):
                answer += received
            answers.append(answer)
    refused = [answer for answer in answers if b"HTTP/1.1 503" in answer]
    assert all(b"retry-after: 1" in answer and b'"overloaded"' in answer for answer in refused)
    assert len(refused) + sum(b"HTTP/1.1 200" in answer for answer in answers) == 50
    assert metric(server, 'asof_errors_total{code="overloaded"}') == len(refused)
    for path in ("/health", "/ready", "/metrics"):
        assert httpx.get(server.url + path, timeout=60).status_code == 200
    assert httpx.post(server.url + PATH, json=BODY, timeout=60).status_code == 200
    assert server.stop() == 0, "".join(server.log)


def test_a_server_that_only_reads_takes_no_rows_and_follows_applies(reading: Server, project: Path) -> None:
    answer = httpx.post(reading.url + "/v1/push", json={"source": "orders", "rows": []}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "push_not_allowed")
    assert httpx.get(reading.url + "/ready", timeout=60).json()["revision"] == 1
    assert httpx.post(reading.url + PATH, json=BODY, timeout=60).status_code == 200
    with FeatureStore(project) as store:
        assert store.get_online_features("fraud", KEYS).to_dict()
