"""Overwrites the free pages of the file: a page keeps the bytes of what was deleted until it is used again."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa

from asof.backends.lmdb.writer import LmdbWriter
from asof.interfaces.online import ViewKey

if TYPE_CHECKING:
    from asof.backends.lmdb.environment import Environment

_PLACE = ViewKey("", "#scrub", 0)
_PAGES = 1024
_PAGE_HEADER_BYTES = 16


def scrub(environment: Environment) -> None:
    """Fill free pages with zeros, until the file has to grow, and free them again.

    A page that a reader of an older snapshot may see is not free. Two rounds, because what one transaction frees can be
    used by the one after the next.
    """
    for _ in range(2):
        with LmdbWriter(environment, _PLACE) as writer:  # never committed, so all of it is freed at its end
            for chunk in count():
                before, page_bytes = environment.pages
                zeros = bytes(page_bytes - _PAGE_HEADER_BYTES)  # a value as large as a page gets one of its own
                keys = [b"%016d" % number for number in range(chunk * _PAGES, (chunk + 1) * _PAGES)]
                writer.put(pa.array(keys, pa.binary()), pa.array([zeros] * _PAGES, pa.binary()))
                writer.get([])  # writes what was put
                if environment.pages[0] > before:
                    break
