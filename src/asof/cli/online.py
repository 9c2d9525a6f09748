"""`asof get-online-features`: what is known now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.historical import as_features
from asof.cli.session import Session, json_option, pass_session
from asof.dtypes import FLOATS, INTEGERS
from asof.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asof.definitions.services import Consistency


@click.command("get-online-features")
@click.argument("features", nargs=-1, required=True)
@click.option("--key", "keys", metavar="NAME=VALUE", multiple=True, help="A join key; repeat for more.")
@click.option(
    "--request", "inputs", metavar="NAME=VALUE", multiple=True, help="A request input of on-demand views; as --key."
)
@click.option("--at", metavar="INSTANT", default=None, help="The instant of the read, ISO 8601. Default: now.")
@click.option(
    "--consistency",
    type=click.Choice(["latest", "snapshot"]),
    help="snapshot: all views as of one instant at which each is exact. Default: the service's.",
)
@click.option("--partial", is_flag=True, help="Answer although views cannot be read; what depends on them is an error.")
@json_option
@pass_session
def command(
    session: Session,
    features: tuple[str, ...],
    keys: tuple[str, ...],
    inputs: tuple[str, ...],
    at: str | None,
    consistency: Consistency | None,
    partial: bool,
) -> None:
    """Read features of entities as they are known now.

    FEATURES are one service, or views and features. Repeat --key for more entities; for an entity with several join
    keys, give each of them as often. Features about everything take no --key.

    \b
        asof get-online-features fraud --key customer_id=17 --key customer_id=42
        asof get-online-features delays:mean_1d --key origin=JFK --key dest=SFO
        asof get-online-features pressure:per_mile --key origin=JFK --request distance=229
        asof get-online-features fraud --key customer_id=17 --consistency snapshot
    """
    asked = as_features(features)
    selection = session.store.catalog().select(asked)
    fields = selection.on_demand.request if selection.on_demand else {}
    columns = _typed("--key", selection.key_types(), keys)
    request = _typed("--request", {name: field.dtype for name, field in fields.items()}, inputs)
    answer = session.store.get_online_features(
        asked, columns, at=at, request=request, consistency=consistency, partial=partial
    )
    if session.as_json:
        click.echo(answer.to_json(metadata=True).decode())
        return
    for name, error in answer.failures.items():
        session.say(f"View {name} could not be read: {error}", "red")
    values, statuses = answer.to_dict(), answer.statuses
    shown = columns or request
    labels = [", ".join(f"{name}={one}" for name, one in zip(shown, row, strict=True)) for row in _rows(shown)]
    for index, label in enumerate(labels):
        session.say(label or "everything", "bold")
        session.table(
            ["feature", "value", "status"],
            [(name, column[index], statuses[name][index]) for name, column in values.items()],
        )


def _rows(columns: dict[str, list[object]]) -> Iterable[tuple[object, ...]]:
    if not columns:
        return [()]
    if len({len(values) for values in columns.values()}) != 1:
        raise InputError("The join keys are not given equally often", fix="Give each of them once per entity.")
    return zip(*columns.values(), strict=True)


def _typed(option: str, types: Mapping[str, str], pairs: tuple[str, ...]) -> dict[str, list[object]]:
    """Return values by name, numbers and bools read from their text; the reader refuses unknown names."""
    columns: dict[str, list[object]] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator:
            raise InputError(f"{option} {pair} has no value", fix=f"Write {option} name=17.")
        columns.setdefault(name, []).append(key_value(f"{option} {pair}", text, types.get(name, "string")))
    return columns


def key_value(given: str, text: str, dtype: str) -> object:
    """Return the value of a join key or request input of a type from its text; the reader checks the rest.

    Raises:
        InputError: it is not a number or a bool where the type is.
    """
    if dtype == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if dtype == "binary":
        return text.encode()
    read: Callable[[str], object] | None = (
        float if dtype in FLOATS else int if dtype in INTEGERS or dtype == "bool" else None
    )
    if dtype.startswith(("list<", "vector<")):
        read = json.loads
    try:
        return text if read is None else read(text)
    except ValueError as error:
        raise InputError(f"{given} is not of type {dtype}", fix=f"Give it as {dtype}.") from error
