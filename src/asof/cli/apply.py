"""`asof apply`: write the definitions to the registry."""

from __future__ import annotations

import rich_click as click

from asof.cli.format import plan_lines
from asof.cli.session import Session, json_option, pass_session


@click.command("apply")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--message", "-m", default="", help="Why; kept with the revision. Default: what changed, in words.")
@click.option("--who", default=None, help="Who applies. Default: the operating system's user.")
@json_option
@pass_session
def command(session: Session, yes: bool, message: str, who: str | None) -> None:
    """Write the definitions to the registry.

    As one revision, or not at all. Shows the plan and asks first, where there is a terminal to ask on. Nothing is
    deleted: what is no longer defined is hidden, and older versions stay readable.

    \b
        asof apply
        asof apply --yes -m "Longer windows for spend"
    """
    plan = session.store.plan()
    for line, style in plan_lines(plan):
        session.say(line, style)
    if plan and not yes and session.asks and not click.confirm("\nApply?"):
        session.say("Nothing was applied.")
        return
    revision = session.store.apply(plan, who=who, message=message)
    session.emit({"applied": bool(plan), "revision": revision.number, "summary": revision.summary, "plan": plan})
    if plan:
        session.say(f"\nApplied as revision {revision.number}.", "bold green")
    if plan.backfills:
        session.say("Next: asof materialize")
