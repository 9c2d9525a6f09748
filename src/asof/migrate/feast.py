"""Turns a Feast feature repository into the files of a project, and says what it could not carry over."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asof.clock import iso, parse_instant
from asof.errors import InputError, NotFoundError, StoreError
from asof.migrate.arguments import Labels
from asof.migrate.entities import Entities
from asof.migrate.findings import Finding, Findings, NotCarriedError
from asof.migrate.on_demand import report_on_demand
from asof.migrate.python import Call, Names, assignment, imports, quoted
from asof.migrate.repository import Repository
from asof.migrate.services import Services
from asof.migrate.settings import FILE, read_settings
from asof.migrate.sources import KINDS, Sources
from asof.migrate.views import VIEWS, Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.migrate.values import Made

_ON_DEMAND = "OnDemandFeatureView"
_SOURCES = KINDS - {"RequestSource"}
_PARTS = frozenset(
    {"Field", "Array", "Set", "Struct", "Aggregation", "ConnectionRef", "LoggingConfig", "FeatureViewProjection"}
)
"""What only other calls use; these are read with them."""
_CLASSES = frozenset(
    {"Entity", "Feature", "FeatureService", "FileSource", "DeltaSource", "PostgresSource", "StateView", "StreamSource"}
)


@dataclass(frozen=True)
class Count:
    """How many of a kind were found and carried over."""

    kind: str
    found: int
    carried: int


@dataclass(frozen=True)
class Imported:
    """A project made of a Feast repository.

    Attributes:
        out: Its directory.
        files: Name to text of its files.
        counts: What was found and carried over.
        findings: What was not, or with another meaning, by place.
    """

    out: Path
    files: dict[str, str]
    counts: tuple[Count, ...]
    findings: tuple[Finding, ...]


def read_feast(directory: Path, out: Path, *, now_us: int, handover: str | None = None) -> Imported:
    """Translate a Feast repository without running its code; nothing is written.

    Args:
        directory: Where feature_store.yaml is.
        out: The new project's directory, which paths of files are relative to.
        now_us: The instant of the import; pushes and topics take over at its hour, unless `handover` is given.
        handover: ISO 8601.

    Raises:
        NotFoundError: there is no such directory, or no feature_store.yaml in it.
        ConfigError: feature_store.yaml cannot be used.
        DefinitionError: a file is not valid Python.
        InputError: `handover` is no instant.
        SourceError: a file cannot be read.
    """
    root = directory.resolve()
    if not root.is_dir():
        raise NotFoundError(f"There is no directory {directory}", fix=f"Name the one that holds {FILE}.")
    findings = Findings()
    settings = read_settings(root, findings)
    repository = Repository(root, findings)
    repository.read()
    labels, names = Labels(findings), Names(set(_CLASSES), {one.variable for one in repository.seen if one.variable})
    entities = Entities(findings, labels, names)
    sources = Sources(root, out.resolve(), _handover(handover, now_us), findings, labels, names)
    views = Views(entities, sources, findings, labels, names)
    services = Services(views, findings, labels, names)
    for made in repository.seen:
        if made.kind == "Entity":
            _try(entities.carry, made)
    for made in repository.seen:
        if made.kind in VIEWS:
            _try(views.carry, made)
    for made in repository.seen:
        if made.kind == _ON_DEMAND:
            report_on_demand(made, views)
    for made in repository.seen:
        if made.kind == "FeatureService":
            services.carry(made)
    _report_rest(repository, views, findings)
    written = [*entities.written, *views.written, *services.written]
    counts = tuple(_counts(repository, entities, sources, views, services))
    files = {"asof.toml": _settings(settings.project, sources, findings), "features.py": _features(written)}
    return Imported(out, files, counts, findings.sorted())


def write_project(imported: Imported, *, overwrite: bool) -> None:
    """Write the project's files.

    Args:
        imported: From `read_feast`.
        overwrite: Replace files that are there.

    Raises:
        InputError: a file is there, and may not be replaced.
        StoreError: one cannot be written.
    """
    paths = {imported.out / name: text for name, text in imported.files.items()}
    there = [path for path in paths if path.exists() or path.is_symlink()]
    if there and not overwrite:
        raise InputError(
            f"{' and '.join(map(str, there))} {'is' if len(there) == 1 else 'are'} there already",
            fix="Choose another directory by --out, or say --overwrite.",
        )
    for path, text in paths.items():
        try:
            _replace(path, text)
        except OSError as error:
            raise StoreError(f"{path} cannot be written", why=str(error), fix="Choose another directory.") from error


def _replace(path: Path, text: str) -> None:
    """Write a file at once; a link is replaced, and what it leads to is left as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".asof-import-") as directory:
        new = Path(directory) / path.name
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def _try(carry: Callable[[Made], object], made: Made) -> None:
    try:
        carry(made)
    except NotCarriedError:
        return  # it is reported where it was found


def _handover(given: str | None, now_us: int) -> str:
    if given is None:
        return iso(now_us // 3_600_000_000 * 3_600_000_000)
    try:
        return iso(parse_instant(given))
    except ValueError as error:
        raise InputError(f"handover {given!r} is no instant", fix='Write "2026-01-01T00:00:00Z".') from error


def _report_rest(repository: Repository, views: Views, findings: Findings) -> None:
    """Report definitions that Feast does not find, sources without views, and kinds that Asof has not."""
    seen = {id(made) for made in repository.seen}
    written = {"", *(variable for variable, _ in views.written)}
    kinds = {"Entity", *VIEWS, _ON_DEMAND, "FeatureService"}
    for made in repository.made:
        name = made.arguments.get("name")
        what = f"{made.kind} {name!r}" if isinstance(name, str) else f"{made.kind}(…)"
        if made.kind in kinds and id(made) not in seen:
            findings.dropped(
                made.place, what, "Feast does not see it: no name of a file is bound to it", "Bind it to a name."
            )
        elif made.kind in _SOURCES and id(made) in seen and views.sources.variable(made) not in written:
            findings.dropped(made.place, what, "No view that is carried over reads it", "Add a view that does.")
        elif id(made) in seen and made.kind not in kinds | KINDS | _PARTS and not made.kind.endswith("Format"):
            findings.dropped(made.place, what, "Asof has no such definition", "See the definitions reference.")


def _settings(project: str, sources: Sources, findings: Findings) -> str:
    lines = [f"project = {quoted(project)}"]
    for number, (servers, place) in enumerate(sources.brokers.items()):
        if number == 0:
            lines.append(f'stream = "kafka://{servers}"')
        else:
            findings.dropped(place, f"Kafka servers {servers}", "A project has one broker", "Use one, or two projects.")
    return "\n".join(lines) + "\n"


def _features(written: list[tuple[str, Call]]) -> str:
    blocks = ['"""Features that were defined for Feast before; written by `asof import-feast`."""\n']
    if used := {name for _, call in written for name in _functions(call)}:
        blocks.append(imports("asof", used))
    blocks += [assignment(variable, call) for variable, call in written]
    return "\n".join(blocks)


def _functions(value: object) -> Iterator[str]:
    if isinstance(value, Call):
        if "." not in value.function:
            yield value.function
        for item in (*value.positional, *(item for _, item in value.keywords)):
            yield from _functions(item)
    elif isinstance(value, list):
        for item in value:
            yield from _functions(item)


def _counts(
    repository: Repository, entities: Entities, sources: Sources, views: Views, services: Services
) -> Iterator[Count]:
    def number(*kinds: str) -> int:
        return sum(made.kind in kinds for made in repository.seen)

    of_feast = sum(made.kind in _SOURCES for made in repository.made)
    carried_views = sum(call.function == "StateView" for _, call in views.written)
    yield Count("entities", number("Entity"), sum(1 for made in repository.seen if entities.has(made)))
    yield Count("sources", of_feast, len(views.written) - carried_views)
    yield Count("views", number(*VIEWS), carried_views)
    yield Count("on-demand views", number(_ON_DEMAND), 0)
    yield Count("services", number("FeatureService"), len(services.written))
