"""Tells whether a key may have been written before, from 8 bytes per key."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_PIECES = 8


class Seen:
    """The hashes of the keys that a writer put, in a few sorted arrays."""

    def __init__(self) -> None:
        """Begin with none."""
        self._pieces: list[npt.NDArray[np.uint64]] = []

    def add(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Take hashes in, and return which of them were there before this call; equal hashes may be of other keys."""
        known = np.zeros(len(hashes), np.bool_)
        for piece in self._pieces:
            at = np.minimum(np.searchsorted(piece, hashes), len(piece) - 1)
            known |= piece[at] == hashes
        if len(hashes):
            self._pieces.append(np.sort(hashes))
        if len(self._pieces) > _PIECES:
            self._pieces = [np.sort(np.concatenate(self._pieces))]
        return known
