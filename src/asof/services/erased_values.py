"""Erases keys out of an online store: a view's values are written anew without them, and the old ones are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from asof.errors import ConflictError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof.interfaces.online import OnlineStore, ViewKey
    from asof.services.arrivals import Pairs

_TRIES = 20


def stored(store: OnlineStore, view: ViewKey, keys: Sequence[bytes]) -> int:
    """Return how many of these keys have a value."""
    [found] = store.read([(view, keys)])
    return sum(value is not None for value in found.values)


def rewrite(store: OnlineStore, view: ViewKey, changed: Pairs, at_us: int | None = None) -> None:
    """Write a view's current generation anew, with changed values; a null value forgets its key.

    Stores keep what was deleted or replaced beside what counts: an item's value before, a dead row, a key between two
    pages. Of a generation that was replaced they keep nothing. All other values stay as they are, byte for byte, and
    so does its progress.

    Args:
        store: The store.
        view: The view version; one without a generation stays so.
        changed: Keys, each once.
        at_us: The generation's instant becomes this, if it was earlier: what somebody else has been building from
            before is then refused. Default: it stays.

    Raises:
        StoreError: the view kept being replaced meanwhile.
    """
    for _ in range(_TRIES):
        now = store.generations(view.project).get(view)
        if now is None:
            return
        try:
            with store.write(view) as writer:
                for keys, values in store.scan(view):
                    kept = pc.invert(pc.is_in(keys, changed.keys))
                    writer.put(keys.filter(kept), values.filter(kept))
                writer.put(changed.keys, changed.values)
                instant_us = now.instant_us if at_us is None else max(at_us, now.instant_us)
                writer.commit(instant_us, now.written_at_us, now.meaning, now.progress)
        except ConflictError:
            continue
        return
    raise StoreError(f"View {view.view}@{view.version} kept being replaced", fix="Erase again.")


def without(pairs: Pairs, keys: Sequence[bytes]) -> tuple[pa.BinaryArray, pa.BinaryArray]:
    """Return pairs in which these keys are forgotten."""
    gone = pa.array(keys, pa.binary())
    kept = pc.invert(pc.is_in(pairs.keys, gone))
    return (
        pa.concat_arrays([pairs.keys.filter(kept), gone]),
        pa.concat_arrays([pairs.values.filter(kept), pa.nulls(len(gone), pa.binary())]),
    )
