"""Reads feature_store.yaml: the project's name, and which settings have another place in Asof."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.errors import ConfigError, NotFoundError
from asof.migrate.findings import Findings, Place

if TYPE_CHECKING:
    from pathlib import Path

FILE = "feature_store.yaml"
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*:(?:\s+(.*))?")
_TYPE = re.compile(r"\s+type\s*:\s*[\"']?([A-Za-z0-9_.]+)")
_PROJECT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_MAX_BYTES = 2**20
_ONLINE = {
    "redis": 'Write online = "redis://host:6379/0" in asof.toml.',
    "postgres": 'Write online = "postgresql://user@host/database" in asof.toml.',
    "dynamodb": 'Write online = "dynamodb://table?region=eu-west-1" in asof.toml.',
}
_ELSEWHERE = {
    "registry": (
        "Asof keeps its own registry, in .asof/registry.db",
        'For a shared one write registry = "postgresql://user@host/database" in asof.toml.',
    ),
    "offline_store": (
        "Sources say themselves where their rows are, and Asof computes training sets",
        "Nothing to do for files; connections of tables are named by their sources.",
    ),
    "batch_engine": ("Asof materializes by itself", "Run `asof materialize`."),
    "auth": ("Access is ruled by Asof's own policy", "Write roles and rules, as the page about access says."),
    "flags": ("They switch features of Feast", "Nothing to do."),
    "feature_server": ("Asof has a server of its own", "Run `asof serve`."),
    "tags": ("A project has no tags", "Tag its views."),
    "owner": ("A project has no owner", "Say owner= in its views."),
}
_SILENT = ("project", "provider", "entity_key_serialization_version", "project_description", "description", "version")
"""`project` is read, the others say how Feast stores, or nothing."""


@dataclass(frozen=True)
class Settings:
    """What is taken from feature_store.yaml."""

    project: str


def read_settings(root: Path, findings: Findings) -> Settings:
    """Read the settings of a Feast repository.

    Raises:
        NotFoundError: there is no feature_store.yaml.
        ConfigError: it cannot be read, or names no project.
    """
    file = root / FILE
    try:
        if not file.resolve().is_relative_to(root):
            raise ConfigError(f"{file} leads out of the repository", fix="Copy the file to the place of the link.")
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES).decode("utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no {FILE} in {root}",
            why="It is what makes a directory a Feast feature repository",
            fix="Name the directory that holds it, which is often called feature_repo.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read", why=str(error), fix="Make it a readable UTF-8 file.") from error
    sections = _sections(text)
    if "project" not in sections:
        raise ConfigError(f"{file} names no project", fix="Add a line such as project: shop.")
    line, project, _ = sections["project"]
    for key, (at, _, below) in sections.items():
        _report(findings, Place(FILE, at), key, below)
    return Settings(_project(project, Place(FILE, line), findings))


def _sections(text: str) -> dict[str, tuple[int, str, list[str]]]:
    """Return the line, the value and the lines below of every key at the margin; nothing else is needed of the file."""
    found: dict[str, tuple[int, str, list[str]]] = {}
    below: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _KEY.fullmatch(line.rstrip()):
            below = []
            found[match[1]] = (number, _scalar(match[2] or ""), below)
        else:
            below.append(line)
    return found


def _scalar(text: str) -> str:
    text = text.strip()
    if text[:1] in ("'", '"') and (end := text.find(text[0], 1)) > 0:
        return text[1:end]
    return re.split(r"\s+#|^#", text, maxsplit=1)[0].strip()


def _report(findings: Findings, place: Place, key: str, below: list[str]) -> None:
    if key in _SILENT:
        return
    if key == "online_store":
        kind = next((match[1] for line in below if (match := _TYPE.match(line))), "sqlite")
        if kind == "remote":
            return
        instead = _ONLINE.get(kind, "Asof keeps values in .asof/online; other stores are in the page about stores.")
        findings.dropped(
            place, f"online_store of type {kind}", "Addresses and logins of stores are not copied", instead
        )
        return
    why, instead = _ELSEWHERE.get(key, ("Asof has no such setting", "Look for it in the configuration reference."))
    findings.dropped(place, f"setting {key}", why, instead)


def _project(name: str, place: Place, findings: Findings) -> str:
    if _PROJECT.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")
    plain = (plain if plain[:1].isalpha() else f"project-{plain}".rstrip("-"))[:64]
    findings.differs(
        place,
        f"project {name!r} is called {plain!r}",
        "A project's name is a letter, then letters, digits, dashes and underscores",
        "Change project in asof.toml if you want another name.",
    )
    return plain
