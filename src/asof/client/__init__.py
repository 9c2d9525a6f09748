"""Reads and pushes features over HTTP; light enough for a model server: no engine, no Arrow, no NumPy is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from asof.client.answers import Pushed, RemoteFeatures, Service, ServiceFeature
from asof.client.arrow import ArrowFeatures
from asof.client.blocking import Client

if TYPE_CHECKING:
    from asof.client.asynchronous import AsyncClient

__all__ = ["ArrowFeatures", "AsyncClient", "Client", "Pushed", "RemoteFeatures", "Service", "ServiceFeature"]


def __getattr__(name: str) -> object:
    if name == "AsyncClient":  # asyncio is most of what importing it costs
        return import_module("asof.client.asynchronous").AsyncClient
    raise AttributeError(f"module 'asof.client' has no attribute {name!r}")
