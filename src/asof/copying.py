"""Opens the stores that a project is copied from and to; what happens then is `asof.services.copy_project`'s."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from asof.backends.loading import open_offline, open_online_store, open_registry
from asof.backends.local.disk import DiskPlace
from asof.config import FILE_NAME, load_config
from asof.errors import ConfigError, InputError, NotFoundError, StoreError
from asof.services.copy_project import ROLES, Copied, Places, ProjectCopy, Role
from asof.services.settings import switch_settings, without_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from asof.config import Config
    from asof.wiring import Wiring

    Tell = Callable[[str, int], None]

_BACKUP = """\
# A backup: `asof restore` copies it back into a project.
project = "{project}"
definitions = []
registry = "sqlite:///registry.db"
offline = "offline"
online = "lmdb:///online"
"""


def copy(
    project: Wiring,
    to: str | os.PathLike[str] | None,
    given: Mapping[Role, str | None],
    source: str | os.PathLike[str] | None,
    *,
    switch: bool,
    overwrite: bool,
    dry_run: bool,
    progress: Tell | None,
) -> Copied:
    """Copy a project; see `FeatureStore.copy`."""
    config = project.config
    origin = _settings(config) if source is None else _settings(_read(Path(source), config.project))
    target: dict[Role, str] = {}
    if to is not None:
        there = _settings(_read(Path(to), config.project))
        target = {role: there[role] for role in ROLES if there[role] != origin[role]}
    target |= {role: _absolute(role, url, config.root) for role, url in given.items() if url is not None}
    if not target:
        raise InputError(
            "There is nothing to copy to", fix="Name a registry, an offline or an online store, or settings with --to."
        )
    if switch and source is not None:
        raise InputError(
            "Only a copy of the project's own stores can be switched to", fix="Leave out --from, or --switch."
        )
    if "offline" in target:
        _refuse_nested(origin["offline"], target["offline"])
    else:
        del origin["offline"]
    variables: tuple[str, ...] = ()

    def write_settings() -> None:
        nonlocal variables
        # As they were given where they were, since a relative path means the same to everybody who has the project.
        new = {str(role): given.get(role) or url for role, url in target.items()}
        variables = switch_settings(config.root, new, os.environ)

    with (
        _opened(origin, config.root, config.project) as here,
        _opened(target, config.root, config.project) as there_open,
    ):
        job = ProjectCopy(here, there_open, config.project, progress)
        if dry_run:
            job.check(overwrite=overwrite)
            return job.plan()
        done = job.run(overwrite=overwrite, switch=write_settings if switch else None)
    return replace(done, variables=variables)


def backup(project: Wiring, directory: Path, progress: Tell | None) -> Copied:
    """Copy a project into a directory that holds settings of its own."""
    config, file = project.config, directory / FILE_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            if any(directory.iterdir()):
                raise InputError(f"{directory} is not empty, and no backup", fix="Name a new directory.")
            file.write_text(_BACKUP.format(project=config.project), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"No backup can be written to {directory}", why=str(error), fix="Name a directory that can be written."
        ) from error
    target = _settings(_read(directory, config.project))
    _refuse_nested(_settings(config)["offline"], target["offline"])
    with (
        _opened(_settings(config), config.root, config.project) as here,
        _opened(target, directory, config.project) as there,
    ):
        return ProjectCopy(here, there, config.project, progress).run()


def restore(project: Wiring, directory: Path, *, overwrite: bool, progress: Tell | None) -> Copied:
    """Copy a backup into the stores of a project."""
    config = project.config
    origin = _settings(_read(directory, config.project))
    with (
        _opened(origin, directory, config.project) as here,
        _opened(_settings(config), config.root, config.project) as there,
    ):
        job = ProjectCopy(here, there, config.project, progress)
        return replace(job.run(overwrite=overwrite, switch=lambda: None, leave=False), switched=False)


def _refuse_nested(one: str, other: str) -> None:
    """Refuse to copy a directory, or a prefix of a bucket, into itself."""
    if one == other or ("://" in one) != ("://" in other):
        return
    here, there = (PurePosixPath(at) if "://" in at else Path(at).resolve() for at in (one, other))
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise InputError(f"{other} and {one} are inside each other", fix="Name a place elsewhere.")


def _read(directory: Path, project: str) -> Config:
    directory = directory.parent if directory.is_file() else directory
    if not (directory / FILE_NAME).is_file():
        raise NotFoundError(f"There is no {FILE_NAME} in {directory}", fix="Name a directory that has one.")
    found = load_config(directory.absolute(), {})
    if found.project != project:
        raise ConfigError(
            f"{directory / FILE_NAME} is of project {found.project!r}, not {project!r}",
            why="Values are kept under the project's name",
            fix="Name the settings of the same project.",
        )
    return found


def _settings(config: Config) -> dict[Role, str]:
    found: dict[Role, str] = {"registry": config.registry, "offline": config.offline, "online": config.online}
    return {role: _absolute(role, url, config.root) for role, url in found.items()}


def _absolute(role: Role, url: str, root: Path) -> str:
    """Return a place so that it means the same whatever the working directory is."""
    scheme, mark, path = url.partition(":///")
    if mark and not path.startswith("/"):
        return f"{scheme}:///{root.absolute() / path}"
    if role == "offline":
        return url.rstrip("/") if "://" in url else str(root.absolute() / url)
    return url


@contextmanager
def _opened(places: Mapping[Role, str], root: Path, project: str) -> Iterator[Places]:
    names = {role: without_login(url) for role, url in places.items()}
    with ExitStack() as held:
        registry = online = offline = None
        if "registry" in places:
            registry = open_registry(places["registry"], root, project)
            held.callback(registry.close)
        if "online" in places:
            online = open_online_store(places["online"], root)
            held.callback(online.close)
        if "offline" in places:
            offline = open_offline(places["offline"], root, DiskPlace)
        yield Places(registry, offline, online, names)
