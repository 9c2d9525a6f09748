"""What goes wrong with object storage, as Asof's errors: what, why, and what to do."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asof.errors import AsofError, ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_NO_BUCKET = {"NoSuchBucket", "InvalidBucketName", "ContainerNotFound"}
_DENIED = {
    "AccessDenied",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "XAdminUserNotFound",
}
_KEYS_FIX = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (GOOGLE_*, AZURE_STORAGE_* there), or give this machine's role "
    "the right to list, read, write and delete below the prefix."
)


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn the client's errors into `ConfigError` and `StoreError`; whether an object is there passes."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (AsofError, FileExistsError):
        raise
    except FileNotFoundError as error:
        if (known := _known(place, str(error))) is not None:
            raise known from error
        raise
    except (BaseError, PermissionError, OSError) as error:
        raise _known(place, str(error)) or _other(place, str(error)) from error


def _known(place: str, text: str) -> ConfigError | StoreError | None:
    found = _CODE.search(text)
    code = found[1] if found else ""
    message = _MESSAGE.search(text)
    why = f"{code}: {message[1]}" if message else _first(text)
    bucket = "/".join(place.split("/")[:3])
    if code in _NO_BUCKET or "bucket does not exist" in text:
        return ConfigError(f"There is no bucket {bucket}", why=why, fix="Make the bucket, or correct its name.")
    if code in _DENIED or any(status in text for status in ("401 Unauthorized", "403 Forbidden")):
        return StoreError(f"Access to {place} is denied", why=why, fix=_KEYS_FIX)
    if "169.254." in text or "metadata.google.internal" in text:
        return StoreError(
            f"There are no credentials for {place}",
            why="None are in the environment, and this machine has no role that gives some",
            fix=_KEYS_FIX,
        )
    return None


def _other(place: str, text: str) -> StoreError:
    lowered = text.lower()
    if "timed out" in lowered or "timeout" in lowered.partition("debug source")[0] or "timedout" in lowered:
        what, fix = (
            f"{place} did not answer in time",
            "Try again; see whether the service is up and the network is fast.",
        )
    elif "connect" in lowered or "dns error" in lowered:
        what, fix = f"{place} cannot be reached", "Check AWS_ENDPOINT_URL, the region and the network, then try again."
    else:
        what, fix = f"{place} cannot be used", "Try again, or correct what the reason names."
    return StoreError(what, why=_first(text), fix=fix)


def _first(text: str) -> str:
    return text.partition("\n")[0][:300]
