"""What a Redis URL may say about clusters and replicas."""

from __future__ import annotations

from pathlib import Path

import pytest

from asof.backends.redis import open_stream
from asof.backends.redis.settings import parse
from asof.errors import ConfigError, UnsupportedOperationError

ROOT = Path("/")


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    """With ports of their own, or the usual one; options that are not ours go to the client."""
    found = parse("rediss://a:7000,b,[::1]:7002/?cluster=true&replicas=2&socket_timeout=3", ROOT, {})
    assert found.nodes == (("a", 7000), ("b", 6379), ("::1", 7002))
    assert (found.cluster, found.replicas) == (True, 2)
    assert found.url == "rediss://a:7000/?socket_timeout=3"
    assert found.where == "a:7000,b:6379,::1:7002"


def test_one_server_is_no_cluster_unless_it_is_said() -> None:
    """And writes wait for nobody."""
    found = parse("redis://a/3", ROOT, {})
    assert (found.cluster, found.nodes, found.replicas) == (False, (("a", 6379),), 0)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://a,b/", "names 2 servers"),
        ("redis://a/?cluster=yes", "cluster in a Redis URL is 'yes'"),
        ("redis://a/1?cluster=true", "database '1' of a cluster"),
        ("redis://a,/?cluster=true", "does not name a Redis server"),
        ("redis://a:x,b/?cluster=true", "port in a Redis URL is no number"),
        ("redis://a/?replicas=-1", "replicas in a Redis URL is '-1'"),
        ("redis://a/?replicas=99", "replicas in a Redis URL is '99'"),
    ],
)
def test_what_cannot_be_is_refused(url: str, message: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse(url, ROOT, {})
    assert caught.value.fix


def test_streams_are_not_read_from_a_cluster() -> None:
    """It says so at once."""
    with pytest.raises(UnsupportedOperationError, match="not read from a cluster"):
        open_stream("redis://a/?cluster=true", ROOT)
