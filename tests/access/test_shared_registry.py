"""The command line and the library against a registry that a team shares: they ask who you are, and check it."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from asof import FeatureStore
from asof.errors import AccessDeniedError, UnauthenticatedError
from tests.cli.conftest import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.slow
_numbers = itertools.count(1)


@pytest.fixture
def shared(tmp_path: Path, capsys: pytest.CaptureFixture[str], postgres_server: PostgresServer) -> Iterator[Project]:
    """Return a project whose registry is on PostgreSQL, in a schema that is not there yet."""
    schema = f"access_{next(_numbers)}"
    project = Project(tmp_path, capsys)
    project.write("asof.toml", f'project = "shop"\nregistry = "{postgres_server.url}?schema={schema}"\n')
    yield project
    postgres_server.forget(schema)


def made(project: Project, *arguments: str) -> Any:
    ran = project.run("key", "create", *arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_a_team_works_with_keys(shared: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first key on nobody does anything without one; each does what its own allows."""
    assert shared.run("apply").code == 0
    refused = shared.run("key", "create", "ci", "--role", "reader")
    assert "first key" in refused.err
    admin = made(shared, "ops", "--role", "admin")

    for command in (["apply"], ["list"], ["key", "list"], ["materialize"], ["audit"], ["status"]):
        ran = shared.run(*command)
        assert (ran.code, "ASOF_API_KEY" in ran.err) == (UnauthenticatedError.exit_code, True), command

    monkeypatch.setenv("ASOF_API_KEY", admin["key"])
    reader = made(shared, "model", "--role", "reader", "--service", "fraud", "--expires", "90d")
    editor = made(shared, "ada", "--role", "editor", "--service", "score")
    writer = made(shared, "job", "--role", "writer", "--view", "spend", "--view", "profile")
    listed = shared.run("key", "list")
    assert all(one["id"] in listed.out for one in (admin, reader, editor))
    assert reader["key"] not in listed.out

    monkeypatch.setenv("ASOF_API_KEY", writer["key"])
    assert shared.run("materialize").code == 0
    assert shared.run("get-online-features", "fraud", "--key", "customer_id=7").code == AccessDeniedError.exit_code

    monkeypatch.setenv("ASOF_API_KEY", reader["key"])
    with FeatureStore(shared.root) as store:
        assert store.get_online_features("fraud", {"customer_id": [7]}).to_dict()["profile__country"] == [None]
        for refused_call in (
            lambda: store.get_online_features("score", {"customer_id": [7]}),
            lambda: store.get_historical_features(["spend:count_1h"], {}),
            store.materialize,
            store.access.list_keys,
            store.prune,
            store.status,
        ):
            with pytest.raises(AccessDeniedError):
                refused_call()
        assert [one.name for one in store.list()] == ["fraud"]

    monkeypatch.setenv("ASOF_API_KEY", editor["key"])
    shared.edit(
        "score = FeatureService(", 'extra = FeatureService("extra", features=[profile])\nscore = FeatureService('
    )
    assert shared.run("apply", "--yes").code == AccessDeniedError.exit_code
    shared.edit('extra = FeatureService("extra", features=[profile])\n', "")
    shared.edit('FeatureService("score", features=[profile])', 'FeatureService("score", features=[profile, spend])')
    assert shared.run("apply", "--yes").code == 0

    monkeypatch.setenv("ASOF_API_KEY", admin["key"])
    records = json.loads(shared.run("audit", "--json").out)
    seen = {(one["action"], one["what"], one["outcome"]) for one in records}
    assert ("apply", "service:score", "allowed") in seen
    assert ("apply", "service:extra", "denied") in seen
    assert ("read_online", "service:fraud", "allowed") in seen
    assert ("materialize", "view:profile", "denied") in seen or ("materialize", "view:spend", "denied") in seen
    assert all(one["who"].startswith(("key:", "local:")) for one in records)
    head = json.loads(shared.run("audit", "--verify", "--json").out)["head"]
    assert re.fullmatch("[0-9a-f]{64}", head)

    assert shared.run("key", "revoke", reader["id"]).code == 0
    assert shared.run("audit", "--head", head).code == 0
    monkeypatch.setenv("ASOF_API_KEY", reader["key"])
    assert shared.run("list").code == UnauthenticatedError.exit_code
    monkeypatch.setenv("ASOF_TOKEN", "a.b.c")
    assert "both set" in shared.run("list").err
