"""Dead letters in a directory keep the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof.backends.local.deadletters import LocalDeadLetters
from asof.testing.conformance.deadletters import DeadLetterConformance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asof.interfaces import DeadLetterStore


class TestLocalDeadLetters(DeadLetterConformance):
    @pytest.fixture
    def letters(self, tmp_path: Path) -> DeadLetterStore:
        return LocalDeadLetters(tmp_path)

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], DeadLetterStore]:
        return lambda: LocalDeadLetters(tmp_path)
