"""Asof: a feature store whose values are the same in training and in serving."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from asof.definitions import (
    Aggregate,
    ApproxCountDistinct,
    Count,
    CountDistinct,
    DeltaSource,
    Entity,
    EventView,
    Feature,
    FeatureService,
    FileSource,
    First,
    FirstN,
    FrameSource,
    Last,
    LastN,
    Max,
    Mean,
    Min,
    OnDemandView,
    Percentile,
    RequestField,
    StateView,
    Stddev,
    Sum,
    TopK,
    Variance,
    Window,
    on_demand,
)
from asof.errors import AsofError

if TYPE_CHECKING:
    from asof.store import FeatureStore

__version__ = "0.1.0"

__all__ = [
    "Aggregate",
    "ApproxCountDistinct",
    "AsofError",
    "Count",
    "CountDistinct",
    "DeltaSource",
    "Entity",
    "EventView",
    "Feature",
    "FeatureService",
    "FeatureStore",
    "FileSource",
    "First",
    "FirstN",
    "FrameSource",
    "Last",
    "LastN",
    "Max",
    "Mean",
    "Min",
    "OnDemandView",
    "Percentile",
    "RequestField",
    "StateView",
    "Stddev",
    "Sum",
    "TopK",
    "Variance",
    "Window",
    "__version__",
    "on_demand",
]


def __getattr__(name: str) -> object:
    if name == "FeatureStore":
        return import_module("asof.store").FeatureStore
    raise AttributeError(f"module 'asof' has no attribute {name!r}")
