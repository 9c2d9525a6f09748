"""References as users write them: `spend:amount_sum_30d`, `spend@3:count_1h`, `fraud`, `fraud@2`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asof.errors import InputError

_OBJECT = re.compile(r"([A-Za-z]\w*)(?:@(\d+))?")
_FEATURE = re.compile(r"([A-Za-z]\w*)(?:@(\d+))?:([A-Za-z]\w*)")


@dataclass(frozen=True)
class ObjectReference:
    """A view or service, with a version or without (then the newest)."""

    name: str
    version: int | None


@dataclass(frozen=True)
class FeatureReference:
    """A feature of a view, with a version of the view or without (then the newest)."""

    view: str
    version: int | None
    feature: str


def parse_object(text: str) -> ObjectReference:
    """Read `name` or `name@version`.

    Raises:
        InputError: it is neither.
    """
    match = _OBJECT.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is not a reference", fix='Write a name, as "fraud", or pin a version: "fraud@2".')
    return ObjectReference(match[1], int(match[2]) if match[2] else None)


def parse_feature(text: str) -> FeatureReference:
    """Read `view:feature` or `view@version:feature`.

    Raises:
        InputError: it is neither.
    """
    match = _FEATURE.fullmatch(text)
    if match is None:
        raise InputError(
            f"{text!r} is not a feature reference", fix='Write "view:feature", or pin a version: "view@3:feature".'
        )
    return FeatureReference(match[1], int(match[2]) if match[2] else None, match[3])
