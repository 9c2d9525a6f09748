"""The options of `asof serve` that bound what requests may take."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import rich_click as click

from asof.errors import AsofError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof.server.limits import CacheLimits, Limits

_CACHE = re.compile(r"\s*(?P<age>[^,]+?)\s*(,\s*(?P<keys>\d+)(\s*keys)?\s*)?")
_CACHE_KEYS = 100_000
_OPTIONS = (
    click.option("--max-body", default=8 * 2**20, show_default=True, help="Longest request body, in bytes."),
    click.option("--max-keys", default=10_000, show_default=True, help="Most keys in one request."),
    click.option("--timeout", default="10s", show_default=True, help="How long the answer to a read may take."),
    click.option("--body-timeout", default="30s", show_default=True, help="How long a request may take to arrive."),
    click.option("--max-headers", default=32 * 2**10, show_default=True, help="Longest request headers, in bytes."),
    click.option("--keep-alive", default="75s", show_default=True, help="How long an idle connection is kept."),
    click.option(
        "--max-at-once",
        default=256,
        show_default=True,
        type=click.IntRange(min=1),
        help="Requests that a worker answers at the same time.",
    ),
    click.option(
        "--max-waiting",
        default=1024,
        show_default=True,
        type=click.IntRange(min=0),
        help="Requests that wait for their turn in a worker; more are refused.",
    ),
    click.option(
        "--client-requests",
        type=click.FloatRange(min=0, min_open=True),
        help="Requests per second that a worker takes from one client. Default: any number.",
    ),
    click.option(
        "--client-keys",
        type=click.FloatRange(min=0, min_open=True),
        help="Keys per second that a worker takes from one client. Default: any number.",
    ),
    click.option(
        "--cache",
        help='Remember what a remote store held, at most so long and so many values: "500ms,10000". Default: off.',
    ),
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as `limits`."""

    @functools.wraps(command)
    def limited(
        *arguments: Any,
        max_body: int,
        max_keys: int,
        timeout: str,
        body_timeout: str,
        max_headers: int,
        keep_alive: str,
        max_at_once: int,
        max_waiting: int,
        client_requests: float | None,
        client_keys: float | None,
        cache: str | None,
        **others: Any,
    ) -> Any:
        from asof.server.limits import Limits  # loads the server, which --help does not need

        limits: Limits = Limits(
            body_bytes=max_body,
            keys=max_keys,
            timeout_s=_seconds("--timeout", timeout),
            body_timeout_s=_seconds("--body-timeout", body_timeout),
            header_bytes=max_headers,
            keep_alive_s=max(1, round(_seconds("--keep-alive", keep_alive))),
            at_once=max_at_once,
            waiting=max_waiting,
            client_requests=client_requests,
            client_keys=client_keys,
            cache=_cache(cache),
        )
        return command(*arguments, limits=limits, **others)

    for option in reversed(_OPTIONS):
        limited = option(limited)
    return limited


def _seconds(option: str, text: str) -> float:
    from asof.durations import parse_duration

    try:
        found_us = parse_duration(text, option)
    except AsofError as error:
        raise InputError(f"{option} is {text!r}", why=error.what, fix='Write "500ms" or "10s".') from error
    if found_us <= 0:
        raise InputError(f"{option} is {text!r}", fix='Write "500ms" or "10s".')
    return found_us / 1_000_000


def _cache(text: str | None) -> CacheLimits | None:
    if text is None:
        return None
    from asof.server.limits import CacheLimits

    match = _CACHE.fullmatch(text)
    keys = _CACHE_KEYS if match is None or match["keys"] is None else int(match["keys"])
    if match is None or keys < 1:
        raise InputError(f"--cache is {text!r}", fix='Write the greatest age, and how many values: "500ms,10000".')
    return CacheLimits(round(_seconds("--cache", match["age"]) * 1_000_000), keys)
