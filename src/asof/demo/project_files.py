"""The demonstration's project directory: the shipped `asof.toml` and `features.py`, and the data beside them."""

from __future__ import annotations

import runpy
import shutil
from importlib import resources
from typing import TYPE_CHECKING, TypeVar

from asof.definitions import EventView, FeatureService
from asof.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("asof.toml", "features.py")
SERVICE = "arrival_delay"
LIVE_VIEW = "airport_now"
T = TypeVar("T")


def shipped(name: str) -> str:
    """Return the text of one of the project's files."""
    return resources.files("asof.demo").joinpath("project", name).read_text(encoding="utf-8")


def start(directory: Path) -> None:
    """Write the project's files into `directory`, and forget what an earlier run registered and stored there.

    Raises:
        InputError: the directory holds something else, or the files of an earlier run were edited.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        for name in FILES:
            file = directory / name
            if not file.is_file() or file.read_text(encoding="utf-8") != shipped(name):
                raise InputError(
                    f"{directory} is in use: its {name} is not the demonstration's",
                    why="The demonstration starts afresh and would overwrite it",
                    fix="Choose another place with --dir.",
                )
        shutil.rmtree(directory / ".asof", ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (directory / name).write_text(shipped(name), encoding="utf-8")


def service() -> FeatureService:
    """Return the project's feature service as a definition."""
    return _defined(SERVICE, FeatureService)


def live_view() -> EventView:
    """Return the project's view over a stream as a definition."""
    return _defined(LIVE_VIEW, EventView)


def _defined(name: str, kind: type[T]) -> T:
    with resources.as_file(resources.files("asof.demo").joinpath("project", "features.py")) as file:
        found = runpy.run_path(str(file))[name]
    if not isinstance(found, kind):
        raise TypeError(f"{name} is no {kind.__name__}")
    return found
