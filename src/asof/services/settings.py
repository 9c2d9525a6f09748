"""Writes settings into `asof.toml`, in one step and leaving everything else in the file as it was."""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from asof.config import FILE_NAME, PREFIX, URL_PASSWORD
from asof.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def without_login(url: str) -> str:
    """Return a URL without user and password, and without its query's values that are secret; a path as it is."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    # An empty host has to keep its slashes: sqlite:///path.
    rest = urlunsplit(("", "", parts.path, parts.query, ""))
    return f"{parts.scheme}://{host}{rest}"


def switch_settings(root: Path, new: Mapping[str, str], env: Mapping[str, str]) -> tuple[str, ...]:
    """Let settings of the project have new values.

    Args:
        root: Holds `asof.toml`.
        new: Values by key.
        env: The environment, which goes before the file.

    Returns:
        The environment variables that have to be set instead, because they are set, or because the value holds a
        password, which the file must not.

    Raises:
        ConfigError: the file cannot be written.
    """
    variables = []
    texts: dict[str, str] = {}
    for key, value in new.items():
        name = PREFIX + key.upper()
        if URL_PASSWORD.search(value) or env.get(name):
            variables.append(name)
        else:
            texts[key] = value
    if texts:
        _rewrite(root / FILE_NAME, texts)
    return tuple(variables)


def _rewrite(file: Path, new: Mapping[str, str]) -> None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        end = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
        for key, value in new.items():
            quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
            at = next((at for at, line in enumerate(lines[:end]) if re.match(rf"\s*{key}\s*=", line)), None)
            if at is None:
                lines.insert(end, f"{key} = {quoted}")
                end += 1
            else:
                lines[at] = f"{key} = {quoted}"
        text = "\n".join(lines) + "\n"
        found = tomllib.loads(text)
        if any(found.get(key) != value for key, value in new.items()):
            raise ConfigError(f"{file} cannot be changed by itself", fix=_by_hand(new))
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        with temporary.open("w", encoding="utf-8") as written:
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        temporary.replace(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be written", why=str(error), fix=_by_hand(new)) from error


def _by_hand(new: Mapping[str, str]) -> str:
    return "Make it writable and copy again; it is to hold " + ", ".join(f'{k} = "{v}"' for k, v in new.items()) + "."
