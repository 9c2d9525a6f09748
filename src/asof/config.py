"""The project's settings: `asof.toml` at its root, each key overridable by an environment variable."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from asof.errors import ConfigError, NotFoundError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "asof.toml"
PREFIX = "ASOF_"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB|%)", re.IGNORECASE)
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_PROJECT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
URL_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_MIN_BUDGET_BYTES = 16 * 2**20
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Config:
    """A project's settings, checked.

    Attributes:
        root: The directory that holds `asof.toml`; relative paths are below it.
        project: Names the project in stores that several projects share.
        definitions: Files, directories or globs with definitions; empty means features.py or features/.
        registry: URL of the registry.
        online: URL of the online store.
        offline: Directory, or URL of a bucket and prefix, of what the project writes for training.
        stream: URL of the broker that topics of stream sources are on; "" where there is none.
        schema_registry: URL of the registry of their messages' schemas; "" where there is none.
        executor: Where history is computed: local.
        memory_budget_bytes: What one computation may hold in memory before it spills to disk.
        access: "on" asks everybody who they are; "auto" does where there is a policy or a key.
    """

    root: Path
    project: str
    definitions: tuple[str, ...]
    registry: str
    online: str
    offline: str
    stream: str
    schema_registry: str
    executor: str
    memory_budget_bytes: int
    access: str = "auto"


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    project: str
    definitions: str | tuple[str, ...] = ()
    registry: str = "sqlite:///.asof/registry.db"
    online: str = "lmdb:///.asof/online"
    offline: str = ".asof/offline"
    stream: str = ""
    schema_registry: str = ""
    executor: str = "local"
    memory_budget: str | int = "25%"
    access: str = "auto"


KEYS = _Settings.__struct_fields__


def find_root(start: Path) -> Path:
    """Return the nearest directory at or above `start` that holds `asof.toml`.

    Raises:
        NotFoundError: there is none.
    """
    try:
        start = start.resolve()
    except FileNotFoundError as error:
        raise NotFoundError("The working directory was deleted", fix="Change into one that exists.") from error
    for directory in (start, *start.parents):
        if (directory / FILE_NAME).is_file():
            return directory
    raise NotFoundError(
        f"There is no {FILE_NAME} in {start} or above it",
        fix="Run `asof init` to start a project, or point to one: `asof --project DIR`, FeatureStore(DIR).",
    )


def load_config(root: Path, env: Mapping[str, str]) -> Config:
    """Read the settings of the project at `root`; `ASOF_<KEY>` in `env` replaces the key of the file.

    Several definitions in `ASOF_DEFINITIONS` are separated by commas. A URL with a password is accepted from the
    environment only, because `asof.toml` is meant to be shared.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, missing or has a wrong value.
    """
    file = root / FILE_NAME
    found = _read_file(file)
    for key in found:
        if key not in KEYS:
            raise ConfigError(
                f"{file} has an unknown key {key!r}",
                why=did_you_mean(key, KEYS),
                fix=f"Known keys are {', '.join(KEYS)}.",
            )
    _refuse_passwords(file, found)
    origin = dict.fromkeys(KEYS, str(file))
    for key in KEYS:
        if value := env.get(PREFIX + key.upper()):
            found[key] = value.split(",") if key == "definitions" else value
            origin[key] = f"environment variable {PREFIX}{key.upper()}"
    settings = _convert(found, origin)
    definitions = settings.definitions
    return Config(
        root=root,
        project=_project(settings.project, origin["project"]),
        definitions=(definitions,) if isinstance(definitions, str) else definitions,
        registry=settings.registry,
        online=settings.online,
        offline=settings.offline,
        stream=settings.stream,
        schema_registry=settings.schema_registry,
        executor=_executor(settings.executor, origin["executor"]),
        memory_budget_bytes=_budget(settings.memory_budget, f"memory_budget in {origin['memory_budget']}"),
        access=_access(settings.access, origin["access"]),
    )


def parse_size(value: str | int, what: str) -> int:
    """Return bytes from a number of bytes, a size as "512MB" or "2GiB", or a share of this machine's memory as "25%".

    Raises:
        ConfigError: it is none of them; `what` names the setting in the message.
    """
    if isinstance(value, int) and value > 0:
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ConfigError(f"{what} is {value!r}, not a size", fix='Write "2GB", "512MB" or "25%".')
    if match[2] != "%":
        return int(float(match[1]) * _UNITS[match[2].lower()])
    share = float(match[1])
    if not 0 < share <= 100:
        raise ConfigError(f"{what} is {value!r}", why="A share is above 0% and at most 100%", fix='Write "25%".')
    return int(memory_bytes() * share / 100)


def memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or its container's limit where that is lower."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _CGROUP_LIMITS:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{file} is not there", fix="Run `asof init` in the project's directory.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read", why=str(error), fix="Make it a readable UTF-8 file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{file} is not valid TOML", why=str(error), fix='Write lines such as project = "shop".'
        ) from error


def _refuse_passwords(file: Path, found: Mapping[str, Any]) -> None:
    for key in ("registry", "online", "offline", "stream", "schema_registry"):
        if isinstance(found.get(key), str) and URL_PASSWORD.search(found[key]):
            raise ConfigError(
                f"{key} in {file} holds a password",
                why="This file is meant to be shared",
                fix=f"Take the line out and set the environment variable {PREFIX}{key.upper()}.",
            )


def _convert(found: dict[str, Any], origin: Mapping[str, str]) -> _Settings:
    if "project" not in found:
        raise ConfigError(f"{origin['project']} has no project", fix='Add a line such as project = "shop".')
    try:
        return msgspec.convert(found, _Settings)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        key = re.split(r"[^a-z_]", place, maxsplit=1)[0]
        raise ConfigError(
            f"{key} in {origin.get(key, FILE_NAME)} has the wrong type",
            why=problem.replace("`", ""),
            fix='definitions is a list of texts, memory_budget a size as "2GB" or "25%", all others are texts.',
        ) from error


def _project(name: str, origin: str) -> str:
    if not _PROJECT.fullmatch(name):
        raise ConfigError(
            f"project in {origin} is {name!r}",
            fix="Use a letter, then letters, digits, dashes and underscores, at most 64 characters.",
        )
    return name


def _executor(name: str, origin: str) -> str:
    if name != "local":
        raise ConfigError(f"executor in {origin} is {name!r}", fix='The executor of this version is "local".')
    return name


def _access(value: str, origin: str) -> str:
    if value not in ("auto", "on"):
        raise ConfigError(f"access in {origin} is {value!r}", fix='Write "on", or leave it out.')
    return value


def _budget(value: str | int, what: str) -> int:
    size = parse_size(value, what)
    if size < _MIN_BUDGET_BYTES:
        raise ConfigError(f"{what} is {value!r}", why="Less than 16 MiB cannot hold one batch", fix='Write "256MB".')
    return size
