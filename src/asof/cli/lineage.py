"""`asof lineage`: what something is made of, and what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click
from rich.text import Text
from rich.tree import Tree

from asof.cli.session import Session, json_option, pass_session
from asof.plan.lineage import steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.plan.lineage import Link, Node


@click.command("lineage")
@click.argument("reference", required=False)
@json_option
@pass_session
def command(session: Session, reference: str | None) -> None:
    """Show what something is made of, and what is made of it.

    REFERENCE is a feature, a view, a service, an entity, a source or a column of a source. Without one: everything,
    from sources and entities down. "…" stands for what is shown further up.

    \b
        asof lineage spend:amount_sum_30d
        asof lineage transactions.amount
        asof lineage fraud@2 --json
    """
    found = session.store.lineage(reference)
    session.emit(found)
    if session.as_json:
        return
    for node in found.nodes:
        root = Tree(Text(str(node), style="bold"), highlight=False)
        above = found.upstream if reference is not None else ()
        for title, links, upstream in (("made of", above, True), ("used by", found.downstream, False)):
            _grow(root, title, links, node, upstream=upstream)
        if not root.children:
            root.add(Text("nothing uses it"))
        session.out.print(root, soft_wrap=True)
    if not found.nodes:
        session.say("The registry is empty. Run `asof apply`.")


def _grow(root: Tree, title: str, links: Sequence[Link], node: Node, *, upstream: bool) -> None:
    branches: list[Tree] = []
    for step in steps(links, node, upstream=upstream):
        if not branches:
            branches.append(root.add(Text(title, style="bold")))
        roles = f" ({', '.join(step.roles)})" if step.roles else ""
        del branches[step.depth + 1 :]
        branches.append(branches[-1].add(Text(f"{step.node}{roles}{' …' if step.again else ''}")))
