"""Request ids and logs: the same id in the answer, in errors, in the access log and in what is logged meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from asof.logs import REQUEST_ID, JsonLines
from tests.observability.conftest import PATH, running
from tests.server.conftest import KEYS

if TYPE_CHECKING:
    from pathlib import Path

BODY = {"service": "fraud", "keys": KEYS}


def ask(shop: Path, headers: dict[str, str], body: dict[str, Any] = BODY, path: str = PATH) -> Any:
    async def once() -> Any:
        async with running(shop, access_log=True) as server:
            if path == PATH:
                return await server.client.post(path, json=body, headers=headers)
            return await server.client.get(path, headers=headers)

    return asyncio.run(once())


@pytest.mark.parametrize("path", [PATH, "/health", "/nowhere"])
def test_a_request_id_comes_back(shop: Path, path: str) -> None:
    assert ask(shop, {"x-request-id": "order/17:a.b-c_d"}, path=path).headers["x-request-id"] == "order/17:a.b-c_d"


@pytest.mark.parametrize("unusable", ["", "with space", 'quo"te', "x" * 129])
def test_an_unusable_request_id_is_replaced(shop: Path, unusable: str) -> None:
    """Nobody writes into the logs what he likes."""
    found = ask(shop, {"x-request-id": unusable}).headers["x-request-id"]
    assert found != unusable
    assert len(found) == 32


@pytest.mark.parametrize("path", [PATH, "/nowhere"])
def test_an_error_names_its_request(shop: Path, path: str) -> None:
    response = ask(shop, {"x-request-id": "mine"}, {"service": "none", "keys": KEYS}, path)
    assert response.json()["error"]["request_id"] == "mine"


def test_the_access_log_says_who_asked_for_what(shop: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "asof.access"):
        ask(shop, {"x-request-id": "mine", "x-asof-model": "scorer-7"})
    [line] = [json.loads(record.message) for record in caplog.records if record.name == "asof.access"]
    wanted = {"request_id": "mine", "model": "scorer-7", "service": "fraud@1", "keys": 3, "status": 200, "path": PATH}
    assert wanted.items() <= line.items()


def test_the_body_names_the_model_before_the_header(shop: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "asof.access"):
        ask(shop, {"x-asof-model": "header"}, {**BODY, "model": "body"})
    [line] = [json.loads(record.message) for record in caplog.records if record.name == "asof.access"]
    assert line["model"] == "body"


def test_a_line_of_json_has_the_request_and_the_exception() -> None:
    """Several lines of an exception are one line of the log."""
    lines = JsonLines()
    token = REQUEST_ID.set("mine")
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        record = logging.LogRecord("asof.x", logging.ERROR, "", 0, "%s failed", ("it",), (ValueError, error, None))
    text = lines.format(record)
    REQUEST_ID.reset(token)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["message"], line["level"], line["request_id"]) == ("it failed", "error", "mine")
    assert "first\nsecond" in line["exception"]
    assert json.loads(lines.format(record))["request_id"] == json.loads(lines.format(record))["request_id"] != "mine"


def test_commands_log_lines_of_json_where_that_is_asked_for(shop: Path) -> None:
    """Progress and errors alike, on stderr, under one id per run."""
    command = [sys.executable, "-m", "asof.cli", "--project", str(shop), "--log-format", "json"]
    done = subprocess.run([*command, "materialize", "profile"], capture_output=True, text=True, check=True)
    failed = subprocess.run(
        [*command[:-2], "describe", "nothing"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ASOF_LOG_FORMAT": "json"},
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["level"] for line in lines} == {"info"}
    assert len({line["request_id"] for line in lines}) == 1
    assert "profile" in lines[0]["message"]
    assert done.stdout == ""
    [error] = [json.loads(line) for line in failed.stderr.splitlines()]
    assert error["level"] == "error"
    assert "'nothing'" in error["message"]
    assert failed.returncode == 6
