"""Model-dependent transforms: scaling, imputing and encoding whose parameters a training set decides."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from asof.errors import DefinitionError

Strategy = Literal["mean", "median", "most_frequent", "constant"]
_STRATEGIES = ("mean", "median", "most_frequent", "constant")


@dataclass(frozen=True)
class Impute:
    """Replaces null.

    Attributes:
        strategy: mean or median (of numbers), most_frequent (of several the smallest), or constant.
        value: The constant.
    """

    strategy: Strategy = "median"
    value: bool | int | float | str | None = None

    def __post_init__(self) -> None:
        if self.strategy not in _STRATEGIES:
            raise DefinitionError(f"There is no imputing by {self.strategy!r}", fix=f"Use {', '.join(_STRATEGIES)}.")
        if (self.strategy == "constant") != (self.value is not None):
            raise DefinitionError(
                f"Impute({self.strategy!r}) has value {self.value!r}",
                fix='A constant needs a value, as Impute("constant", 0.0); the other strategies take none.',
            )
        if isinstance(self.value, float) and not isfinite(self.value):
            raise DefinitionError(f"Impute has value {self.value!r}", fix="Give a finite number.")


@dataclass(frozen=True)
class Standardize:
    """Gives (x - mean) / standard deviation (of the population) as float64; null stays null, a constant gives 0."""


@dataclass(frozen=True)
class MinMax:
    """Gives (x - min) / (max - min) as float64, so 0 to 1 on the rows it was fitted on; a constant gives 0."""


@dataclass(frozen=True)
class OneHot:
    """Gives one int8 column per value, named `column=value`: 1 where it is the value, else 0, also for null.

    Attributes:
        most: How many values get a column: the most frequent ones, of equally frequent the smallest.
    """

    most: int = 100

    def __post_init__(self) -> None:
        if self.most < 1:
            raise DefinitionError("OneHot gives no columns", fix="Say most=1 or more.")


@dataclass(frozen=True)
class Ordinal:
    """Gives the value's place among the sorted values as int64; -1 for a value that was not there, null for null."""


ModelTransform = Impute | Standardize | MinMax | OneHot | Ordinal
