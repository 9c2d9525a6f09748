"""Turns what the client reports into the errors of the store contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore import exceptions

from asof.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from types import TracebackType

    from asof.errors import AsofError

_LOGIN = "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_PROFILE, and what they may do."
_BUSY = "Give the table more capacity or let it be paid per request, then try again."
_CODES: dict[str, tuple[type[AsofError], str]] = {
    "AccessDeniedException": (ConfigError, _LOGIN),
    "ExpiredTokenException": (ConfigError, _LOGIN),
    "IncompleteSignature": (ConfigError, _LOGIN),
    "InvalidSignatureException": (ConfigError, _LOGIN),
    "MissingAuthenticationToken": (ConfigError, _LOGIN),
    "UnrecognizedClientException": (ConfigError, _LOGIN),
    "ResourceNotFoundException": (
        StoreError,
        "Create it with the binary keys k (partition) and s (sort), or add create=true to the URL once.",
    ),
    "ProvisionedThroughputExceededException": (StoreError, _BUSY),
    "RequestLimitExceeded": (StoreError, _BUSY),
    "ThrottlingException": (StoreError, _BUSY),
}
_CLIENT: tuple[tuple[type[Exception], type[AsofError], str], ...] = (
    (exceptions.NoCredentialsError, ConfigError, _LOGIN),
    (exceptions.PartialCredentialsError, ConfigError, _LOGIN),
    (exceptions.ProfileNotFound, ConfigError, _LOGIN),
    (exceptions.CredentialRetrievalError, ConfigError, _LOGIN),
    (exceptions.NoRegionError, ConfigError, "Add region= to the URL, or set AWS_REGION."),
    (exceptions.BotoCoreError, StoreError, "Check that the service can be reached from here, then try again."),
)


class translated:
    """Raises the contract's errors for those of the client in its block."""

    __slots__ = ("_doing", "_where")

    def __init__(self, where: str, doing: str) -> None:
        """Guard a block.

        Args:
            where: Names the table.
            doing: What the block does, as "be read".
        """
        self._where = where
        self._doing = doing

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Translate what left the block."""
        if not isinstance(error, (exceptions.ClientError, exceptions.BotoCoreError)):
            return
        what = f"The online store in {self._where} could not {self._doing}"
        if isinstance(error, exceptions.ClientError):
            kind_, fix = _CODES.get(code(error), (StoreError, "Try again; if it persists, look at what DynamoDB says."))
            raise kind_(what, why=str(error), fix=fix) from error
        for client, ours, fix in _CLIENT:
            if isinstance(error, client):
                raise ours(what, why=str(error), fix=fix) from error


def code(error: exceptions.ClientError) -> str:
    """Return the name of what the service refused."""
    return str(error.response.get("Error", {}).get("Code", ""))


def throttled(where: str) -> StoreError:
    """Return the error of a request that the table had no capacity for, however often it was repeated."""
    return StoreError(f"{where} had no capacity left for a request", why="It was repeated for a while", fix=_BUSY)
