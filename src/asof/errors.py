"""Every error a user can meet: one base with what, why and fix, one class per thing the caller can do about it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class AsofError(Exception):
    """An error with its cause and its remedy.

    Attributes:
        what: What went wrong, as a sentence without its full stop.
        why: The cause, or an empty string where `what` says it all.
        fix: What the reader can do now.
        code: Stable name, used in HTTP bodies and `--json` output.
        http_status: The status an HTTP answer carries.
        exit_code: The exit status of the command line.
        retryable: Whether the same call may succeed later without a change.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        self.what = what
        self.why = why
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        return " ".join(sentence(part) for part in (self.what, self.why, self.fix) if part)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.why, self.fix))


def _rebuild(kind: type[AsofError], what: str, why: str, fix: str) -> AsofError:
    return kind(what, why=why, fix=fix)


def sentence(text: str) -> str:
    """Return `text` with a full stop unless it already ends like a sentence."""
    return text if text.endswith((".", "!", "?", "`", ":")) else text + "."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a `Did you mean …?` clause for the nearest known names, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.55)
    return f"Did you mean {' or '.join(near)}?" if near else ""


class DefinitionError(AsofError, ValueError):
    """A definition is wrong in itself: a window, a name, a duplicate, an impossible combination."""

    code = "definition_invalid"
    http_status = 400
    exit_code = 3


class SchemaError(AsofError, TypeError):
    """A definition or a request does not fit the data: a column that is not there or has another type."""

    code = "schema_mismatch"
    http_status = 400
    exit_code = 4


class InputError(AsofError, ValueError):
    """The caller's spine, keys, instant or request body cannot be used as they are."""

    code = "input_invalid"
    http_status = 400
    exit_code = 5


class NotFoundError(AsofError, LookupError):
    """A view, feature, service, file or project of that name does not exist."""

    code = "not_found"
    http_status = 404
    exit_code = 6


class ConflictError(AsofError, RuntimeError):
    """Someone else changed the same thing first; look again, then repeat."""

    code = "conflict"
    http_status = 409
    exit_code = 7
    retryable = True


class SnapshotUnavailableError(ConflictError):
    """Views could not be read as of one instant at which all of them are exact: arrivals are on their way."""

    code = "snapshot_unavailable"
    http_status = 503


class NotMaterializedError(AsofError, RuntimeError):
    """The online store does not hold this view (version), or not for that instant."""

    code = "not_materialized"
    http_status = 409
    exit_code = 8


class ViewsBehindError(AsofError, RuntimeError):
    """Rows were kept, but a view cannot show them yet. Do not push them again: it takes them in once it can."""

    code = "views_behind"
    http_status = 409
    exit_code = 17


class NotBackfilledError(NotMaterializedError):
    """A batch source has not run the intervals that are asked for."""

    code = "not_backfilled"


class SourceError(AsofError, OSError):
    """A source cannot be read: missing, empty, truncated, unparsable, or its files disagree."""

    code = "source_unreadable"
    http_status = 502
    exit_code = 9


class StreamError(AsofError, OSError):
    """A stream cannot be read or reached, or has no such topic; positions are where they were."""

    code = "stream_failed"
    http_status = 502
    exit_code = 15
    retryable = True


class StreamRefusedError(StreamError):
    """A stream's broker refuses the topic, the user or the request, and will refuse it again."""

    code = "stream_refused"
    retryable = False


class StreamDataLossError(StreamError):
    """Messages that were not read yet are gone from the stream, or cannot be told from such; nothing was skipped."""

    code = "stream_data_lost"
    retryable = False


class StoreError(AsofError, OSError):
    """A store refused or failed; what was stored before is still there."""

    code = "store_failed"
    http_status = 503
    exit_code = 10
    retryable = True


class ServerError(AsofError, OSError):
    """A server of features cannot be reached, hung up, or answered with what is no answer."""

    code = "server_failed"
    http_status = 502
    exit_code = 20
    retryable = True


class ServerTimeoutError(ServerError, TimeoutError):
    """A server of features did not answer within the time that the caller allowed."""

    code = "server_timeout"
    http_status = 504


class StoreFullError(StoreError):
    """A disk or a store is full; what was stored before is still there."""

    code = "store_full"
    http_status = 507
    retryable = False


class CorruptDataError(AsofError, ValueError):
    """Stored bytes are not what was written, or come from a version this library cannot read."""

    code = "data_corrupt"
    exit_code = 11


class FeatureValueError(AsofError, ArithmeticError):
    """A feature's value cannot be represented, as an integer sum beyond 64 bits."""

    code = "value_out_of_range"
    http_status = 422
    exit_code = 12


class MissingValueError(AsofError, ValueError):
    """A feature has no value where its service says that it must have one."""

    code = "value_missing"
    http_status = 422
    exit_code = 16


class UnsupportedOperationError(AsofError, NotImplementedError):
    """This store, format or type cannot do that, and nothing approximates it in silence."""

    code = "unsupported"
    http_status = 501
    exit_code = 13


class ConfigError(AsofError, ValueError):
    """`asof.toml`, an environment variable or the environment itself is not usable."""

    code = "config_invalid"
    exit_code = 14


class UnauthenticatedError(AsofError, PermissionError):
    """Nobody is named, or the key or token is not valid: wrong, expired or revoked."""

    code = "unauthenticated"
    http_status = 401
    exit_code = 18


class AccessDeniedError(AsofError, PermissionError):
    """No rule allows it. What does not exist and what may not be seen are denied in the same words."""

    code = "access_denied"
    http_status = 403
    exit_code = 19


class MovedError(ConfigError):
    """This store was moved, or is a copy that was not switched to: nobody writes to it, so nothing is lost in it."""

    code = "store_moved"
    http_status = 409


class RejectedRowsWarning(UserWarning):
    """Rows of a source could not be used and were put into quarantine, with a reason each."""


class MissingIntervalsWarning(UserWarning):
    """A batch source was run for intervals before and after some that it was not run for."""
