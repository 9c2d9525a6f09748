"""At every boundary a row has the cause that the specification gives it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asof.services.causes import TracedRow, event_causes, state_causes

T, START = 100, 40
ROW = TracedRow(
    order=1,
    event_us=60,
    known_us=60,
    retracted_us=None,
    event_id=None,
    value=1,
    rejected=None,
    deleted=False,
    first=True,
    where=True,
    own_where=True,
)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        (replace(ROW, event_us=T), "in_the_future"),
        (replace(ROW, event_us=T - 1), "inside"),
        (replace(ROW, event_us=START), "inside"),
        (replace(ROW, event_us=START - 1), "before_the_window"),
        (replace(ROW, known_us=T), "inside"),
        (replace(ROW, known_us=T + 1), "not_yet_available"),
        (replace(ROW, retracted_us=T), "retracted"),
        (replace(ROW, retracted_us=T + 1), "inside"),
        (replace(ROW, event_us=-1), "before_the_window"),
        (replace(ROW, value=None), "null_input"),
        (replace(ROW, value=None, own_where=False), "filtered_by_aggregate"),
        (replace(ROW, first=False, where=False), "duplicate"),
        (replace(ROW, deleted=True, first=False), "retraction"),
        (replace(ROW, event_us=None, known_us=None, rejected="event time is null", where=False), "quarantined"),
    ],
)
def test_an_event_is_inside_or_has_the_first_cause_that_fits(row: TracedRow, cause: str) -> None:
    assert event_causes([row], T, START) == [cause]


def test_a_lifetime_window_has_no_start() -> None:
    assert event_causes([replace(ROW, event_us=-(10**15))], T, None) == ["inside"]


@pytest.mark.parametrize(
    ("event_us", "ttl_us", "cause"),
    [(T, 5, "inside"), (T + 1, 5, "in_the_future"), (T - 5, 5, "inside"), (T - 6, 5, "expired"), (-T, None, "inside")],
)
def test_a_state_holds_from_its_event_time_until_its_ttl(event_us: int, ttl_us: int | None, cause: str) -> None:
    assert state_causes([replace(ROW, event_us=event_us, known_us=0)], T, ttl_us) == [cause]


def test_of_states_the_newest_wins_by_event_time_then_knowledge_then_order() -> None:
    rows = [
        replace(ROW, order=1, event_us=60, known_us=90),
        replace(ROW, order=2, event_us=61, known_us=61),
        replace(ROW, order=3, event_us=61, known_us=70),
        replace(ROW, order=4, event_us=61, known_us=70),
        replace(ROW, order=5, event_us=61, known_us=T + 1),
    ]
    assert state_causes(rows, T, None) == ["older", "older", "older", "inside", "not_yet_available"]
    assert state_causes([*rows[:3], replace(rows[3], deleted=True)], T, None)[-1] == "tombstone"
