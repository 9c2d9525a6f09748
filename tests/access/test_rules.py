"""Nothing is allowed that no rule allows; the table of roles is the documented one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asof.errors import AccessDeniedError
from asof.plan.access import PROJECT, ROLES, Access, Action, Grant, Principal, Resource, Role

DOCS = Path(__file__).parents[2] / "docs/access.md"
names = st.sampled_from(["fraud", "spend", "pii", "*"])
lists = st.lists(names, max_size=2).map(tuple)
grants = st.builds(
    Grant,
    role=st.sampled_from(list(ROLES)),
    projects=st.sampled_from([("*",), ("shop",), ("other",)]),
    services=lists,
    views=lists,
    tags=lists,
)
plain = st.sampled_from(["fraud", "spend", "pii", "else"])
resources = st.one_of(
    st.just(PROJECT),
    st.builds(
        Resource,
        kind=st.sampled_from(["entity", "source", "view", "service"]),
        name=plain,
        tags=st.lists(plain, max_size=2).map(tuple),
    ),
)


def allowed_by(grant: Grant, action: Action, resource: Resource) -> bool:
    """The rules once more, spelled out."""
    if action not in ROLES[grant.role] or not ({"*", "shop"} & set(grant.projects)):
        return False
    if not grant.services and not grant.views and not grant.tags:
        return True
    if resource == PROJECT:
        return False
    for kind, patterns in (("service", grant.services), ("view", grant.views)):
        if resource.kind == kind and ("*" in patterns or resource.name in patterns):
            return True
    return any(tag in grant.tags or "*" in grant.tags for tag in resource.tags)


@given(st.lists(grants, max_size=3), st.sampled_from(Action), resources)
def test_nothing_is_allowed_that_no_rule_allows(held: list[Grant], action: Action, resource: Resource) -> None:
    """The answer is that of the rules one by one; without any it is no."""
    principal, access = Principal("ada", tuple(held)), Access("shop")
    expected = any(allowed_by(grant, action, resource) for grant in held)
    assert access.may(principal, action, resource) == expected
    if expected:
        access.check(principal, action, [resource])
    else:
        with pytest.raises(AccessDeniedError):
            access.check(principal, action, [resource])


@given(st.lists(grants, max_size=2), st.sampled_from(["pii", "pii:email", "daily"]), lists)
def test_personal_data_is_shown_only_where_a_rule_says_so(held: list[Grant], tag: str, unmask: tuple[str, ...]) -> None:
    """The rule that unmasks must itself allow the read; a tag that is no personal data hides nothing."""
    view = Resource("view", "spend", (tag,))
    principal = Principal("ada", (*held, Grant(role="reader", views=("fraud",), unmask=("pii",))))
    shown = Access("shop").shows(principal, Action.READ_ONLINE, tag, [view])
    assert shown == (tag == "daily")


@pytest.mark.parametrize("role", ROLES)
def test_the_table_of_roles_is_documented(role: Role) -> None:
    """The page says of each action whether each role may do it."""
    table = DOCS.read_text(encoding="utf-8").partition("| action |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\|(.*)\|$", table, flags=re.MULTILINE))
    assert rows.keys() == {str(action) for action in Action}
    column = list(ROLES).index(role)
    for action in Action:
        assert (rows[action].split("|")[column].strip() == "yes") == (action in ROLES[role])


def test_a_denial_does_not_tell_whether_a_name_exists() -> None:
    """What is unknown and what is forbidden are denied in the same words."""
    principal = Principal("ada", (Grant(role="reader", services=("fraud",)),))
    words = []
    for tags in ((), ("daily",)):
        with pytest.raises(AccessDeniedError) as caught:
            Access("shop").check(principal, Action.READ_ONLINE, [Resource("service", "score", tags)])
        words.append(str(caught.value))
    assert words[0] == words[1]
