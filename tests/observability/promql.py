"""Takes PromQL apart, as far as rules and dashboards use it: which metrics, with which labels, in which functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORDS = frozenset({
    "by", "on", "without", "ignoring", "group_left", "group_right", "offset", "and", "or", "unless", "bool",
})  # fmt: skip
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?\s*(\[[^\]]*\])?(?!\s*\(|[a-zA-Z0-9_:])")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_NUMBER = re.compile(r"\b\d+(?:\.\d+)?(?:ms|[smhdwy])?\b")


@dataclass(frozen=True)
class Selector:
    """A use of a metric.

    Attributes:
        labels: That it matches on.
        function: The one whose argument it directly is, or "".
        ranged: Whether it has a range, as `[5m]`.
    """

    metric: str
    labels: frozenset[str]
    function: str
    ranged: bool


def selectors(expression: str) -> list[Selector]:
    """Return the uses of metrics in an expression."""
    text = _GROUPING.sub(" ", re.sub(r'"(?:\\.|[^"])*"', '""', expression))
    found = []
    for match in _SELECTOR.finditer(text):
        name = match[1]
        if name in _WORDS or text[: match.start()].rstrip().endswith("offset") or _NUMBER.fullmatch(name):
            continue
        if match.start() and text[match.start() - 1].isdigit():
            continue  # the unit of a duration
        before = re.search(r"(\w+)\s*\($", text[: match.start()].rstrip())
        labels = frozenset(_LABEL.findall(match[2] or ""))
        found.append(Selector(name, labels, before[1] if before else "", match[3] is not None))
    return found


def grouped(expression: str) -> frozenset[str]:
    """Return the labels that an expression groups or joins by."""
    return frozenset(label for group in _GROUPING.findall(expression) for label in re.findall(r"\w+", group))
