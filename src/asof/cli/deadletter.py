"""`asof deadletter`: what stream sources could not take in."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from asof.cli.format import count, instant
from asof.cli.session import Session, json_option, pass_session
from asof.clock import iso

if TYPE_CHECKING:
    from asof.interfaces import DeadLetter

_SHOWN = 20


@click.group("deadletter")
def command() -> None:
    """List, show and replay what stream sources could not take in.

    A message that cannot be decoded and a row that is refused are kept with the reason, where they came from and their
    original bytes.

    \b
        asof deadletter list transactions
        asof deadletter replay transactions
    """


@command.command("list")
@click.argument("source")
@click.option("--limit", type=click.IntRange(0), default=_SHOWN, show_default=True, help="How many to list.")
@json_option
@pass_session
def list_(session: Session, source: str, limit: int) -> None:
    """Count the dead letters of a source by reason, and list the newest.

    \b
        asof deadletter list transactions --limit 100
    """
    found = session.store.dead_letters(source, limit)
    letters = [_fields(one) for one in found.letters]
    session.emit({"source": source, "total": found.total, "reasons": found.reasons, "letters": letters})
    if not found.total:
        session.say(f"{source} has no dead letters.")
        return
    session.say(f"{source}: {count(found.total, 'dead letter')}", "bold")
    for reason, number in list(found.reasons.items())[:_SHOWN]:
        session.say(f"  {number:,} x {reason}", "yellow")
    if len(found.reasons) > _SHOWN:
        session.say(f"  and {count(len(found.reasons) - _SHOWN, 'other reason')}", "yellow")
    session.say()
    session.table(
        ["id", "from", "received", "reason"],
        [(one.id, _place(one), instant(one.received_at_us), one.reason) for one in found.letters],
    )


@command.command("show")
@click.argument("source")
@click.argument("id")
@click.option("--raw", is_flag=True, help="Write the original bytes and nothing else.")
@json_option
@pass_session
def show(session: Session, source: str, id: str, raw: bool) -> None:
    """Show a dead letter: why it was set apart, where it came from, and its original bytes.

    \b
        asof deadletter show transactions 17-0
        asof deadletter show transactions 17-0 --raw > message.bin
    """
    letter = session.store.dead_letter(source, id)
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        return
    value = letter.value
    text = None if value is None else _text(value)
    encoded = None if value is None else base64.b64encode(value).decode()
    session.emit({**_fields(letter), "value": text, "value_base64": encoded})
    sent = None if letter.sent_at_us is None else iso(letter.sent_at_us)
    for label, shown in (
        ("Dead letter", letter.id),
        ("Reason", letter.reason),
        ("From", _place(letter)),
        ("Sent", sent),
        ("Received", iso(letter.received_at_us)),
    ):
        if shown is not None:
            session.say(f"{label}: {shown}")
    session.say()
    if value is None:
        session.say("The message had no value.")
    else:
        session.say(value.hex(" ") if text is None else text)


@command.command("replay")
@click.argument("source")
@click.option("--id", "ids", metavar="ID", multiple=True, help="Replay this one; repeat for more. Default: all.")
@click.option("--strict", is_flag=True, help="End with exit status 1 if some stay dead letters.")
@json_option
@pass_session
def replay(session: Session, source: str, ids: tuple[str, ...], strict: bool) -> None:
    """Decode dead letters again, as the source is defined now, and take in what can be.

    What is taken in arrives now, and is no dead letter any more. After a crash the same command goes on: a row counts
    once.

    \b
        asof deadletter replay transactions
        asof deadletter replay transactions --id 17-0 --id 17-3
    """
    done = session.store.replay_dead_letters(source, ids or None)
    session.emit({"source": source, "taken": done.taken, "refused": done.refused})
    session.say(f"{source}: {count(done.taken, 'row')} taken in, {count(len(done.refused), 'dead letter')} left.")
    for name, reason in list(done.refused.items())[:_SHOWN]:
        session.say(f"  {name}  {reason}", "yellow")
    if len(done.refused) > _SHOWN:
        session.say(f"  and {len(done.refused) - _SHOWN:,} others", "yellow")
    if strict and done.refused:
        raise Exit(1)


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "partition": letter.partition,
        "position": letter.position,
        "sent_at": None if letter.sent_at_us is None else iso(letter.sent_at_us),
        "received_at": iso(letter.received_at_us),
        "reason": letter.reason,
    }


def _place(letter: DeadLetter) -> str:
    return letter.partition if letter.position is None else f"partition {letter.partition}, position {letter.position}"


def _text(value: bytes) -> str | None:
    """Return bytes as text where they are; what a terminal would obey is no text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if all(one.isprintable() or one in "\n\t" for one in text) else None
