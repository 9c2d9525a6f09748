"""Finds a backend by the scheme of its URL among the installed entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from inspect import signature
from typing import TYPE_CHECKING, Any

from asof.errors import ConfigError, did_you_mean
from asof.interfaces.registry import SharedRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asof.interfaces import OfflinePlace, OnlineStore, Registry, StreamBackend


def open_registry(url: str, root: Path, project: str | None = None, *, read_only: bool = False) -> Registry:
    """Open the registry at `url`; relative paths are below the project's `root`.

    Args:
        url: Names it.
        root: The project's directory.
        project: Whose registry it has to be, where several projects can reach it; None where that is no matter.
        read_only: Whether one that can is opened so that nothing is created, upgraded or written.

    Raises:
        ConfigError: no installed package serves that scheme, or it is the registry of another project.
    """
    registry: Registry = _opened(_find("asof.registries", "registry", url), url, root, read_only)
    if project is not None and isinstance(registry, SharedRegistry):
        try:
            registry.belong_to(project)
        except BaseException:
            registry.close()
            raise
    return registry


def open_online_store(url: str, root: Path, *, read_only: bool = False) -> OnlineStore:
    """Open the online store at `url`; relative paths are below the project's `root`.

    With `read_only`, one that can is opened so that nothing is created or written.

    Raises:
        ConfigError: no installed package serves that scheme.
    """
    store: OnlineStore = _opened(_find("asof.online_stores", "online store", url), url, root, read_only)
    return store


def open_stream(url: str, root: Path) -> StreamBackend:
    """Open the stream at `url`, as `kafka://host:9092`; relative paths are below the project's `root`.

    Raises:
        ConfigError: no installed package serves that scheme, or its client library is not installed.
    """
    stream: StreamBackend = _find("asof.streams", "stream", url)(url, root)
    return stream


def open_offline(url: str, root: Path, on_disk: Callable[[Path], OfflinePlace]) -> OfflinePlace:
    """Open where the project keeps what it writes for training: a directory, or `s3://bucket/prefix` and the like.

    `on_disk` opens a directory; a relative one is below the project's `root`.

    Raises:
        ConfigError: no installed package serves that scheme, or the URL is wrong.
    """
    if "://" not in url:
        return on_disk(root / url)
    place: OfflinePlace = _find("asof.offline_places", "offline store", url)(url, root)
    return place


def _opened(opener: Any, url: str, root: Path, read_only: bool) -> Any:
    if read_only and "read_only" in signature(opener).parameters:
        return opener(url, root, read_only=True)
    return opener(url, root)


def _find(group: str, role: str, url: str) -> Any:
    scheme, separator, _ = url.partition("://")
    installed = {point.name: point for point in entry_points(group=group)}
    if not separator or scheme not in installed:
        raise ConfigError(
            f"There is no {role} for {url!r}",
            why=did_you_mean(scheme, installed),
            fix=f"Installed: {', '.join(f'{name}://' for name in sorted(installed)) or 'none'}.",
        )
    return installed[scheme].load()
