"""Entities: what features are about, and the typed join keys that identify one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.definitions.names import check_name, check_tags
from asof.dtypes import KEY_TYPES, key_type
from asof.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, init=False)
class Entity:
    """Something that has features, identified by one or more join keys; without any there is one of it, as the market.

    Attributes:
        join_keys: Pairs of column name and type; a type of None is inferred from the sources at plan time.
    """

    name: str
    join_keys: tuple[tuple[str, str | None], ...]
    description: str
    owner: str
    tags: tuple[str, ...]

    def __init__(
        self,
        name: str,
        *,
        join_key: str | None = None,
        join_keys: Iterable[str] | Mapping[str, str] | None = None,
        dtype: str | None = None,
        description: str = "",
        owner: str = "",
        tags: Iterable[str] = (),
    ) -> None:
        """Define an entity.

        Args:
            name: A letter, then letters, digits and underscores.
            join_key: The one column that identifies it. Default: the entity's name.
            join_keys: Several columns that identify it together, or a mapping of column to type. An empty list:
                features about everything, which have one value at an instant.
            dtype: The type of `join_key`: int64, string, binary, bool, date or timestamp. Default: inferred.
            description: For people.
            owner: Who answers for it.
            tags: Free labels.

        Raises:
            DefinitionError: a wrong name or type, a repeated key, or both `join_key` and `join_keys`.
        """
        check_name("Entity", name)
        if join_key is not None and join_keys is not None:
            raise DefinitionError(f"Entity {name!r} has both join_key and join_keys", fix="Give one of them.")
        keys: dict[str, str | None] = {}
        if join_keys is None:
            keys[join_key or name] = dtype
        elif dtype is not None:
            raise DefinitionError(
                f"Entity {name!r} has several join keys and one dtype",
                fix='Write join_keys={"origin": "string", "dest": "string"}.',
            )
        else:
            pairs = join_keys.items() if hasattr(join_keys, "items") else [(key, None) for key in join_keys]
            for key, key_dtype in pairs:
                if key in keys:
                    raise DefinitionError(f"Entity {name!r} names join key {key!r} twice", fix="Name it once.")
                keys[key] = key_dtype
        if not all(isinstance(key, str) and key for key in keys):
            raise DefinitionError(f"Entity {name!r} has no join key", fix="Name the column that identifies it.")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "join_keys", tuple((key, _key_dtype(name, key, t)) for key, t in keys.items()))
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "owner", owner)
        object.__setattr__(self, "tags", check_tags("entity", name, tags))


def _key_dtype(entity: str, key: str, dtype: str | None) -> str | None:
    if dtype is None:
        return None
    widened = key_type(dtype)
    if widened is None:
        raise DefinitionError(
            f"Join key {key!r} of entity {entity!r} cannot be {dtype}",
            why="Keys are compared exactly" if "float" in dtype else "",
            fix=f"Use one of {', '.join(sorted(KEY_TYPES))}.",
        )
    return widened
