"""Asof: a feature store whose values are the same in training and in serving."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from asof.definitions import (
    Aggregate,
    ApproxCountDistinct,
    BatchSource,
    BatchView,
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
    GroupSplit,
    IcebergSource,
    Impute,
    Label,
    Last,
    LastN,
    Max,
    Mean,
    Min,
    MinMax,
    OnDemandView,
    OneHot,
    Ordinal,
    Percentile,
    PostgresSource,
    RandomSplit,
    RequestField,
    RowTransform,
    Standardize,
    StateView,
    Stddev,
    StreamSource,
    Sum,
    TimeSplit,
    TopK,
    Variance,
    Window,
    on_demand,
)
from asof.errors import AsofError

if TYPE_CHECKING:
    from asof.services.training_set import TrainingSet
    from asof.store import FeatureStore

__version__ = "0.1.0"

__all__ = [
    "Aggregate",
    "ApproxCountDistinct",
    "AsofError",
    "BatchSource",
    "BatchView",
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
    "GroupSplit",
    "IcebergSource",
    "Impute",
    "Label",
    "Last",
    "LastN",
    "Max",
    "Mean",
    "Min",
    "MinMax",
    "OnDemandView",
    "OneHot",
    "Ordinal",
    "Percentile",
    "PostgresSource",
    "RandomSplit",
    "RequestField",
    "RowTransform",
    "Standardize",
    "StateView",
    "Stddev",
    "StreamSource",
    "Sum",
    "TimeSplit",
    "TopK",
    "TrainingSet",
    "Variance",
    "Window",
    "__version__",
    "on_demand",
]


def __getattr__(name: str) -> object:
    if name == "FeatureStore":
        return import_module("asof.store").FeatureStore
    if name == "TrainingSet":
        return import_module("asof.services.training_set").TrainingSet
    raise AttributeError(f"module 'asof' has no attribute {name!r}")
