"""`asof key`: make, list and revoke API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import rich_click as click

from asof.cli.format import instant
from asof.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from asof.interfaces.access import KeyRecord
    from asof.plan.access import Role


@click.group("key")
def command() -> None:
    """Make, list and revoke API keys.

    The first key turns access on: then servers ask everybody who they are, and so do the command line and the
    library where the registry is shared.

    \b
        asof key create ops --role admin
        asof key create fraud-model --role reader --service fraud --expires 90d
        asof key revoke 3f2a9c01d4e7
    """


@command.command("create")
@click.argument("name")
@click.option(
    "--role", type=click.Choice(["reader", "writer", "editor", "admin"]), required=True, help="What it may do."
)
@click.option("--project", "projects", multiple=True, help="Of these projects only. Default: all of this registry.")
@click.option("--service", "services", multiple=True, help="Of these services; * stands for anything.")
@click.option("--view", "views", multiple=True, help="Of these views and on-demand views.")
@click.option("--tag", "tags", multiple=True, help="Of whatever has one of these tags.")
@click.option("--unmask", multiple=True, help="Show personal data with these tags.")
@click.option("--expires", metavar="DURATION", help="How long it is valid, as 90d. Default: until it is revoked.")
@json_option
@pass_session
def create(
    session: Session,
    name: str,
    role: str,
    projects: tuple[str, ...],
    services: tuple[str, ...],
    views: tuple[str, ...],
    tags: tuple[str, ...],
    unmask: tuple[str, ...],
    expires: str | None,
) -> None:
    """Make a key and print it, once: only its hash is stored.

    Without --service, --view and --tag it is for the whole project.

    \b
        asof key create ops --role admin
        asof key create fraud-model --role reader --service fraud --expires 90d
    """
    key, record = session.store.access.create_key(
        name,
        role=cast("Role", role),
        projects=projects,
        services=services,
        views=views,
        tags=tags,
        unmask=unmask,
        expires=expires,
    )
    session.emit({"key": key, **_public(record)})
    session.say(key, "bold green")
    if not session.as_json:
        session.errors.print(
            f"Key {record.id} is shown this once. Send it as `Authorization: Bearer KEY`, or set ASOF_API_KEY."
        )


@command.command("list")
@json_option
@pass_session
def listing(session: Session) -> None:
    """List the keys, revoked and expired ones too, without their secrets."""
    keys = session.store.access.list_keys()
    session.emit([_public(key) for key in keys])
    now_us = session.clock.now_us()
    rows = [(key.id, key.name, _what(key), _state(key, now_us), key.created_by) for key in keys]
    session.table(("id", "name", "allows", "state", "made by"), rows)


@command.command("revoke")
@click.argument("id")
@json_option
@pass_session
def revoke(session: Session, id: str) -> None:
    """Revoke a key; servers refuse it within two seconds."""
    session.store.access.revoke_key(id)
    session.emit({"id": id, "revoked": True})
    session.say(f"Key {id} is revoked.")


def _public(key: KeyRecord) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "grant": key.grant,
        "created": instant(key.created_us),
        "created_by": key.created_by,
        "expires": key.expires_us and instant(key.expires_us),
        "revoked": key.revoked_us and instant(key.revoked_us),
    }


def _what(key: KeyRecord) -> str:
    grant = key.grant
    lists = (("project", grant.projects), ("service", grant.services), ("view", grant.views), ("tag", grant.tags))
    scope = [f"{noun} {one}" for noun, names in lists for one in names if (noun, one) != ("project", "*")]
    shown = [f"unmask {one}" for one in grant.unmask]
    return ", ".join([grant.role, *scope, *shown])


def _state(key: KeyRecord, now_us: int) -> str:
    if key.revoked_us is not None:
        return f"revoked {instant(key.revoked_us)}"
    if key.expires_us is None:
        return "valid"
    return f"{'expired' if key.expires_us <= now_us else 'valid until'} {instant(key.expires_us)}"
