"""`asof plan`: what an apply would change."""

from __future__ import annotations

import rich_click as click

from asof.cli.format import plan_lines
from asof.cli.session import Session, json_option, pass_session


@click.command("plan")
@json_option
@pass_session
def command(session: Session) -> None:
    """Show what an apply would change.

    In words: new versions and why, which services they touch, what to materialize afterwards. Reads the definitions
    and the schemas of their sources; writes nothing.

    \b
        asof plan
        asof plan --json
    """
    plan = session.store.plan()
    session.emit(plan)
    for line, style in plan_lines(plan):
        session.say(line, style)
