"""What errors of PostgreSQL and its ADBC driver mean to whoever reads a source: one table, and the words for each."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asof.errors import AsofError, ConfigError, DefinitionError, SchemaError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATE = re.compile(r"SQLSTATE: ([0-9A-Z]{5})")
_DETAIL = re.compile(r"(?:ERROR|FATAL|PANIC): +([^\n]*)")
_NOISE = re.compile(r"^[A-Z_]+: |\[libpq\] |Failed to (?:connect|prepare query|execute query): ")
_URL = "Write the connection's URL as postgresql://user:password@host:5432/database."
_AGAIN = "Look at the server and the network, then run it again; nothing was kept of the half that was read."

# The first row counts whose SQLSTATEs begin the error's, or whose pattern is in its message: failures to connect, and
# what arrives in the middle of the rows, have no SQLSTATE.
_TABLE: tuple[tuple[tuple[str, ...], str, type[AsofError], str, str], ...] = (
    (("42P01", "3F000"), "", SourceError, "reads a table that is not there", "Correct table= or query=."),
    (("42703",), "", SchemaError, "reads a column that is not there", "Correct the column's name, or query=."),
    ((), r'type integer: "\[', SchemaError, "holds arrays of arrays", "Select one dimension of them in query=."),
    (
        ("42501",),
        "",
        SourceError,
        "may not be read by this user",
        "GRANT SELECT on what it reads, and USAGE on its schema, to the connection's user.",
    ),
    (("25006", "0A000"), "", DefinitionError, "has a query that does more than read", "Write one SELECT."),
    (("42702",), "", SchemaError, "has two columns of one name", "Rename one of them in query=, with AS."),
    (("42",), "", DefinitionError, "has a query that PostgreSQL refuses", "Write one SELECT that it understands."),
    (
        ("57014",),
        "statement timeout",
        SourceError,
        "took the server longer than statement_timeout",
        "Raise it in the connection's URL, as ?statement_timeout=2h, or index the event time.",
    ),
    (("40",), "conflict with recovery", SourceError, "lost its snapshot while it was read", "Run it again."),
    (("3D000",), 'database ".*" does not exist', SourceError, "is in a database that is not there", _URL),
    (
        ("28",),
        "authentication failed|no password supplied|no pg_hba.conf entry|role .* does not exist",
        SourceError,
        "cannot be read as this user",
        "Correct user and password in the connection's environment variable.",
    ),
    ((), "invalid (URI|connection|port|sslmode)|in URI", ConfigError, "has a connection that libpq refuses", _URL),
    (("22",), "ERROR: ", SourceError, "holds a value that the server cannot give", "Correct the value, or query=."),
)


@contextmanager
def translated(source: str, where: str) -> Iterator[None]:
    """Turn errors of the driver inside the block into Asof's.

    Args:
        source: The source that is read.
        where: Its server and database.
    """
    import adbc_driver_manager

    try:
        yield
    except AsofError:
        raise
    except adbc_driver_manager.Error as error:
        raise _meaning(error, source, where) from error
    except OSError as error:
        if error.errno is not None:  # of this machine
            raise
        raise _meaning(error, source, where) from error


def _meaning(error: Exception, source: str, where: str) -> AsofError:
    text = str(error)
    found = _STATE.search(text)
    state = getattr(error, "sqlstate", None) or (found[1] if found else "")
    lines = [line.strip() for line in text.split("\n\nQuery was")[0].splitlines() if line.strip()]
    detail = _DETAIL.search(text)
    why = detail[1] if detail else _NOISE.sub("", lines[0] if lines else text)
    for states, words, kind, what, fix in _TABLE:
        if (states and state.startswith(states)) or (words and re.search(words, text)):
            return kind(f"Source {source!r} {what}", why=f"{where}: {why}", fix=fix)
    return SourceError(f"Source {source!r} cannot be read", why=f"{where}: {why}", fix=_AGAIN)
