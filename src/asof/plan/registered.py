"""Specs as a registry holds them: their kinds, their stored form, and the newest version of each object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from asof.errors import CorruptDataError
from asof.plan.specs import AnySpec, EntitySpec, OnDemandSpec, ServiceSpec, SourceSpec, ViewSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["entity", "source", "view", "on_demand", "service"]

KINDS: tuple[Kind, ...] = ("entity", "source", "view", "on_demand", "service")
NOUNS: dict[Kind, tuple[str, str]] = {
    "entity": ("entity", "entities"),
    "source": ("source", "sources"),
    "view": ("view", "views"),
    "on_demand": ("on-demand view", "on-demand views"),
    "service": ("service", "services"),
}
VERSIONED = (ViewSpec, OnDemandSpec, ServiceSpec)
_TYPES: dict[Kind, type[AnySpec]] = {
    "entity": EntitySpec,
    "source": SourceSpec,
    "view": ViewSpec,
    "on_demand": OnDemandSpec,
    "service": ServiceSpec,
}


@dataclass(frozen=True)
class Newest:
    """The newest version of one object.

    Attributes:
        version: Its number.
        spec: Its spec.
        hidden: Whether it was removed from the definitions.
        visible_versions: All versions that are not hidden, ascending.
    """

    version: int
    spec: AnySpec
    hidden: bool
    visible_versions: tuple[int, ...]


@dataclass(frozen=True)
class Registered:
    """What a plan is made against.

    Attributes:
        revision: The registry's revision; 0 for an empty one.
        newest: By kind and name.
        last_versions: The highest version number ever given, pruned ones included; numbers are never used again.
    """

    revision: int
    newest: Mapping[tuple[Kind, str], Newest]
    last_versions: Mapping[tuple[Kind, str], int]


def kind_of(spec: AnySpec) -> Kind:
    """Return the kind of a spec."""
    return next(kind for kind, type_ in _TYPES.items() if isinstance(spec, type_))


def encode_spec(spec: AnySpec) -> bytes:
    """Return a spec as JSON, the same bytes for equal specs."""
    return msgspec.json.encode(spec, order="deterministic")


def decode_spec(kind: Kind, name: str, body: bytes) -> AnySpec:
    """Return the spec stored in `body`.

    Raises:
        CorruptDataError: it is not a spec of that kind, or was written by a newer version.
    """
    try:
        return msgspec.json.decode(body, type=_TYPES[kind])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptDataError(
            f"The registry's record of {kind} {name!r} cannot be read",
            why=f"{error}; it is damaged or was written by a newer version of asof",
            fix="Upgrade asof, or restore the registry from a backup.",
        ) from error
