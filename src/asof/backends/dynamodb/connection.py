"""Speaks to the table: batches of any size cut to what DynamoDB takes, repeated for what it left out, side by side."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from asof.backends.dynamodb.failures import code, throttled, translated
from asof.backends.dynamodb.layout import attributes
from asof.deadline import not_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from asof.backends.dynamodb.layout import Item, Key

_T = TypeVar("_T")
_R = TypeVar("_R")

_GET, _WRITE = 100, 25
_THREADS = 16
_ATTEMPTS = 4
_REPEAT_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_KEYS = [
    ("k", "HASH"),
    ("s", "RANGE"),
]


class Connection:
    """A table; safe with threads, and after a fork. Every read is strongly consistent."""

    def __init__(self, table: str, *, region: str | None, endpoint: str | None, create: bool, timeout_s: float) -> None:
        """Take what is known of the table; nothing is connected yet."""
        self.where = f"DynamoDB table {table}"
        self._table = table
        self._region = region
        self._endpoint = endpoint
        self._create = create
        self._config = Config(
            connect_timeout=min(timeout_s, 5.0),
            read_timeout=timeout_s,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=2 * _THREADS,
        )
        self._opening = threading.Lock()
        self._opened: tuple[int, Any, ThreadPoolExecutor] | None = None

    def _now(self) -> tuple[Any, ThreadPoolExecutor]:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            with self._opening:
                opened = self._opened
                if opened is None or opened[0] != os.getpid():
                    opened = self._opened = self._open()
        return opened[1], opened[2]

    def _open(self) -> tuple[int, Any, ThreadPoolExecutor]:
        with translated(self.where, "be opened"):
            client = boto3.session.Session().client(
                "dynamodb", region_name=self._region, endpoint_url=self._endpoint, config=self._config
            )
            client.meta.events.register_first("needs-retry.dynamodb", _again_if_empty)
            if self._create:
                self._make(client)
        return os.getpid(), client, ThreadPoolExecutor(_THREADS, thread_name_prefix="asof-dynamodb")

    def _make(self, client: Any) -> None:
        try:
            client.describe_table(TableName=self._table)
            return
        except ClientError as error:
            if code(error) != "ResourceNotFoundException":
                raise
        try:
            client.create_table(
                TableName=self._table,
                KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in _KEYS],
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "B"} for name, _ in _KEYS],
                BillingMode="PAY_PER_REQUEST",
            )
        except ClientError as error:
            if code(error) != "ResourceInUseException":  # somebody else makes it
                raise
        client.get_waiter("table_exists").wait(TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    def side_by_side(self, work: Callable[[_T], _R], parts: Sequence[_T]) -> list[_R]:
        """Do work on every part, several at a time, and return the results in order.

        The first error is raised once nothing of the work goes on. Not within work that is itself done side by side.
        """
        if len(parts) < 2:
            return [work(part) for part in parts]
        pool = self._now()[1]
        futures = [pool.submit(work, part) for part in parts]
        _, others = wait(futures, return_when=FIRST_EXCEPTION)
        for future in others:
            future.cancel()
        wait(others)
        for future in futures:
            if not future.cancelled() and (error := future.exception()) is not None:
                raise error
        return [future.result() for future in futures]

    def get(self, key: Key) -> Item | None:
        """Return an item."""
        with translated(self.where, "be read"):
            found = self._now()[0].get_item(TableName=self._table, Key=attributes(key), ConsistentRead=True)
        item: Item | None = found.get("Item")
        return item

    def get_all(self, keys: Iterable[Key]) -> dict[Key, Item]:
        """Return those items that are there."""
        unique = list(dict.fromkeys(keys))
        parts = [unique[start : start + _GET] for start in range(0, len(unique), _GET)]
        return {
            (item["k"]["B"], item["s"]["B"]): item for found in self.side_by_side(self._get, parts) for item in found
        }

    def _get(self, keys: Sequence[Key]) -> list[Item]:
        client = self._now()[0]
        found: list[Item] = []
        wanted: Any = {self._table: {"Keys": [attributes(key) for key in keys], "ConsistentRead": True}}
        for _ in self._tries():
            with translated(self.where, "be read"):
                answer = client.batch_get_item(RequestItems=wanted)
            found += answer["Responses"].get(self._table, [])
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                break
        return found

    def partition(self, partition: bytes) -> Iterator[list[Item]]:
        """Yield all items of a partition key, a page at a time."""
        client = self._now()[0]
        start: dict[str, Any] = {}
        while True:
            with translated(self.where, "be read"):
                answer = client.query(
                    TableName=self._table,
                    KeyConditionExpression="k = :k",
                    ExpressionAttributeValues={":k": {"B": partition}},
                    ConsistentRead=True,
                    **start,
                )
            yield answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def write_all(self, puts: Sequence[Item], deletes: Sequence[Key] = ()) -> None:
        """Write and delete items, whatever is there; no item comes twice."""
        requests: list[Any] = [{"PutRequest": {"Item": item}} for item in puts]
        requests += [{"DeleteRequest": {"Key": attributes(key)}} for key in deletes]
        self.side_by_side(self._write, [requests[at : at + _WRITE] for at in range(0, len(requests), _WRITE)])

    def _write(self, requests: Sequence[Any]) -> None:
        client = self._now()[0]
        wanted: Any = {self._table: requests}
        for _ in self._tries():
            with translated(self.where, "be written"):
                wanted = client.batch_write_item(RequestItems=wanted).get("UnprocessedItems")
            if not wanted:
                break

    def _tries(self) -> Iterator[None]:
        until_s, longest_s = not_after(time.monotonic() + _REPEAT_S), _FIRST_PAUSE_S
        while True:
            yield
            if time.monotonic() > until_s:
                raise throttled(self.where)
            time.sleep(random.uniform(0, longest_s))  # noqa: S311 - spreads repeated requests
            longest_s = min(2 * longest_s, _LONGEST_PAUSE_S)

    def update(
        self, key: Key, expression: str, names: dict[str, str], values: dict[str, Any], condition: str
    ) -> tuple[bool, Item]:
        """Change an item where a condition holds.

        Returns:
            Whether it held, and the item: as it was before the change, or as it is where the condition failed.
        """
        arguments: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
        if values:
            arguments["ExpressionAttributeValues"] = values
        with translated(self.where, "be written"):
            try:
                answer = self._now()[0].update_item(
                    TableName=self._table,
                    Key=attributes(key),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ReturnValues="ALL_OLD",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **arguments,
                )
            except ClientError as error:
                if code(error) != "ConditionalCheckFailedException":
                    raise
                return False, error.response.get("Item") or {}
        return True, answer.get("Attributes") or {}

    def delete(self, key: Key, condition: str, values: dict[str, Any]) -> None:
        """Delete an item where a condition holds."""
        with translated(self.where, "be written"):
            try:
                self._now()[0].delete_item(
                    TableName=self._table,
                    Key=attributes(key),
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                )
            except ClientError as error:
                if code(error) != "ConditionalCheckFailedException":
                    raise

    def empty(self, partition: bytes) -> None:
        """Delete all items of a partition key."""
        client = self._now()[0]
        start: dict[str, Any] = {}
        while True:
            with translated(self.where, "be read"):
                answer = client.query(
                    TableName=self._table,
                    KeyConditionExpression="k = :k",
                    ExpressionAttributeValues={":k": {"B": partition}},
                    ProjectionExpression="k, s",
                    ConsistentRead=True,
                    **start,
                )
            keys = [{"DeleteRequest": {"Key": {"k": item["k"], "s": item["s"]}}} for item in answer["Items"]]
            for at in range(0, len(keys), _WRITE):
                self._write(keys[at : at + _WRITE])
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def close(self) -> None:
        """Close what was opened; more than once is fine, and it opens again when it is used."""
        opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid():
            opened[2].shutdown()
            opened[1].close()


def _again_if_empty(response: Any, attempts: int, endpoint: Any, **_: Any) -> float | None:
    """Repeat a request whose answer broke off in its headers: the client takes it for one that says nothing.

    Raises:
        ConnectionClosedError: that happened too often.
    """
    if response is None or response[0].content:
        return None
    if attempts >= _ATTEMPTS:
        raise ConnectionClosedError(endpoint_url=endpoint.host)
    return random.uniform(0, _FIRST_PAUSE_S * 2**attempts)  # noqa: S311 - spreads repeated requests
