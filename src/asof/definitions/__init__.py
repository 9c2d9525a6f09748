"""What a user writes: entities, sources, views, aggregates and services, as frozen objects that do no I/O."""

from asof.definitions.aggregates import (
    Aggregate,
    ApproxCountDistinct,
    Count,
    CountDistinct,
    First,
    FirstN,
    Last,
    LastN,
    Max,
    Mean,
    Min,
    Percentile,
    Stddev,
    Sum,
    TopK,
    Variance,
)
from asof.definitions.batch import BatchSource, BatchView
from asof.definitions.entity import Entity
from asof.definitions.model_transforms import Impute, MinMax, OneHot, Ordinal, Standardize
from asof.definitions.on_demand_views import OnDemandView, RequestField
from asof.definitions.services import FeatureService
from asof.definitions.sources import DeltaSource, FileSource, FrameSource, Source
from asof.definitions.streams import StreamSource
from asof.definitions.tables import IcebergSource, PostgresSource
from asof.definitions.training import GroupSplit, Label, RandomSplit, TimeSplit
from asof.definitions.transforms import RowTransform
from asof.definitions.views import EventView, Feature, FeatureSelection, FeatureView, StateView
from asof.definitions.windows import Window

__all__ = [
    "Aggregate",
    "ApproxCountDistinct",
    "BatchSource",
    "BatchView",
    "Count",
    "CountDistinct",
    "DeltaSource",
    "Entity",
    "EventView",
    "Feature",
    "FeatureSelection",
    "FeatureService",
    "FeatureView",
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
    "Source",
    "Standardize",
    "StateView",
    "Stddev",
    "StreamSource",
    "Sum",
    "TimeSplit",
    "TopK",
    "Variance",
    "Window",
]
