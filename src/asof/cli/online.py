"""`asof get-online-features`: what is known now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.historical import as_features
from asof.cli.session import Session, json_option, pass_session
from asof.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asof.services.catalog import Catalog


@click.command("get-online-features")
@click.argument("features", nargs=-1, required=True)
@click.option("--key", "keys", metavar="NAME=VALUE", multiple=True, help="A join key; repeat for more.")
@click.option("--at", metavar="INSTANT", default=None, help="The instant of the read, ISO 8601. Default: now.")
@json_option
@pass_session
def command(session: Session, features: tuple[str, ...], keys: tuple[str, ...], at: str | None) -> None:
    """Read features of entities as they are known now.

    FEATURES are one service, or views and features. Repeat --key for more entities; for an entity with several join
    keys, give each of them as often. Features about everything take no --key.

    \b
        asof get-online-features fraud --key customer_id=17 --key customer_id=42
        asof get-online-features delays:mean_1d --key origin=JFK --key dest=SFO
    """
    asked = as_features(features)
    columns = _typed(session.store.catalog(), asked, keys)
    answer = session.store.get_online_features(asked, columns, at=at)
    if session.as_json:
        click.echo(answer.to_json(metadata=True).decode())
        return
    values, statuses = answer.to_dict(), answer.statuses
    labels = [", ".join(f"{name}={one}" for name, one in zip(columns, row, strict=True)) for row in _rows(columns)]
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


def _typed(catalog: Catalog, features: str | list[str], keys: tuple[str, ...]) -> dict[str, list[object]]:
    """Return the keys by name, integers and bools read from their text; the reader refuses unknown names."""
    dtypes = catalog.select(features).key_types()
    columns: dict[str, list[object]] = {}
    for pair in keys:
        name, separator, text = pair.partition("=")
        if not separator:
            raise InputError(f"--key {pair} has no value", fix="Write --key customer_id=17.")
        columns.setdefault(name, []).append(key_value(name, text, dtypes.get(name, "string")))
    return columns


def key_value(name: str, text: str, dtype: str) -> object:
    """Return the value of a join key of a type from its text; the reader checks the rest.

    Raises:
        InputError: it is not an integer or a bool where the type is.
    """
    if dtype == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if dtype == "binary":
        return text.encode()
    if dtype not in ("int64", "bool"):
        return text
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"--key {name}={text} is not of type {dtype}", fix=f"Give {name} as {dtype}.") from error
