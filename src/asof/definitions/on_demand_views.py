"""On-demand views: features computed at the time of the read, from other features and from the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asof import dtypes
from asof.definitions.names import check_name, check_tags
from asof.definitions.on_demand import INSTANT, Computed
from asof.definitions.roles import Role, prefixed, read_under, refuse_two_mappings
from asof.definitions.views import FeatureSelection, FeatureView, choose
from asof.errors import AsofError, DefinitionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_REQUEST_TYPES = dtypes.INTEGERS | dtypes.FLOATS | {"bool", "string", "date", "timestamp"}


@dataclass(frozen=True)
class RequestField:
    """A value that the caller brings: a column of the spine in training, `request={...}` of an online read.

    Attributes:
        name: The column's name.
        dtype: bool, int8 to int64, uint8 to uint32, float32, float64, string, date, timestamp, or a list or vector.
        default: Replaces null, and stands in where the caller leaves the field out. None: it has to be given, and may
            be null.
        description: For people.
    """

    name: str
    dtype: str
    default: Any = None
    description: str = ""

    def __post_init__(self) -> None:
        check_name("Request field", self.name)
        if self.name == INSTANT:
            raise DefinitionError(f"A request field is named {INSTANT}", why="That is the instant", fix="Rename it.")
        inner = str(self.dtype).removeprefix("vector<").removeprefix("list<").split(",")[0].removesuffix(">")
        try:
            dtypes.to_arrow(self.dtype)
            known = inner in _REQUEST_TYPES
        except (AsofError, TypeError):
            known = False
        if not known:
            raise DefinitionError(
                f"Request field {self.name!r} has type {self.dtype!r}",
                why=did_you_mean(str(self.dtype), _REQUEST_TYPES),
                fix=f"Use one of {', '.join(sorted(_REQUEST_TYPES))}, list<…> or vector<float32, n>.",
            )


@dataclass(frozen=True, eq=False, init=False)
class OnDemandView:
    """Features that are computed when they are read, by one function for a million rows or for one.

    Attributes:
        name: Without a double underscore; columns are named `view__feature`.
        inputs: View, feature name and role of each; the function sees them as columns `view__feature`, under a role as
            `role__view__feature`.
        request: What the caller brings.
        features: Built-in calls; empty where `function` gives all features.
        function: Takes an Arrow record batch of the declared inputs, gives a column per output.
        outputs: The function's features and their types.
        instant: Whether the function also sees the read's instant, as column `event_timestamp`.
    """

    name: str
    inputs: tuple[tuple[FeatureView | OnDemandView, str, Role | None], ...]
    request: tuple[RequestField, ...]
    features: tuple[Computed, ...]
    function: Callable[..., object] | None
    outputs: tuple[tuple[str, str], ...]
    instant: bool
    description: str
    owner: str
    tags: tuple[str, ...]

    __iter__ = None  # else Python would iterate through __getitem__

    def __init__(
        self,
        name: str,
        *,
        inputs: Iterable[FeatureView | OnDemandView | FeatureSelection] = (),
        request: Iterable[RequestField] = (),
        features: Iterable[Computed] = (),
        function: Callable[..., object] | None = None,
        outputs: Mapping[str, str] | None = None,
        instant: bool = False,
        description: str = "",
        owner: str = "",
        tags: Iterable[str] = (),
    ) -> None:
        """Define an on-demand view with built-in `features`, or with a `function` and its `outputs`.

        The function takes one `pyarrow.RecordBatch`, with the inputs as columns `view__feature` and the request fields
        under their names, and returns a mapping from output names to Arrow or NumPy arrays, one value per row. It
        should be vectorised and look at each row alone. It is stored as its import path and the hash of its source.

        Raises:
            DefinitionError: a wrong or repeated name, neither inputs nor request fields, a column that is not
                declared, or not exactly one of features and function.
        """
        check_name("On-demand view", name, double_underscore=False)
        read = tuple(one for item in _listed(inputs) for one in _inputs(name, item))
        fields, calls = tuple(_listed(request)), tuple(_listed(features))
        if wrong := [one for one in fields if not isinstance(one, RequestField)]:
            raise DefinitionError(
                f"On-demand view {name!r} has request field {wrong[0]!r}",
                fix='List RequestField("distance", "float64").',
            )
        if wrong := [one for one in calls if not isinstance(one, Computed)]:
            raise DefinitionError(
                f"On-demand view {name!r} has feature {wrong[0]!r}",
                fix='List calls of asof.on_demand, as ratio("per_mile", "delay", "distance").',
            )
        chosen = {
            "name": name,
            "inputs": read,
            "request": fields,
            "features": calls,
            "function": function,
            "outputs": tuple((outputs or {}).items()),
            "instant": instant or any(_takes_instant(call) for call in calls),
            "description": description,
            "owner": owner,
            "tags": check_tags("on-demand view", name, tags),
        }
        for field, value in chosen.items():
            object.__setattr__(self, field, value)
        self._check()

    def _check(self) -> None:
        if bool(self.features) == (self.function is not None) or (self.function is None) != (not self.outputs):
            raise DefinitionError(
                f"On-demand view {self.name!r} does not say how it is computed",
                fix='Give features=[on_demand.ratio(…)], or function= and outputs={"name": "float64"}.',
            )
        if not self.inputs and not self.request:
            raise DefinitionError(
                f"On-demand view {self.name!r} has no inputs", fix="Give inputs=, request=, or both of them."
            )
        columns = [prefixed(role, f"{view.name}__{feature}") for view, feature, role in self.inputs]
        columns += [one.name for one in self.request]
        for kind, names in (("input", columns), ("feature", list(self.feature_names()))):
            if repeated := next((one for i, one in enumerate(names) if one in names[:i]), None):
                raise DefinitionError(
                    f"On-demand view {self.name!r} has two {kind}s named {repeated!r}", fix="Keep one of them."
                )
        refuse_two_mappings(one for view, _, role in self.inputs for one in read_under(view, role))
        for output in self.feature_names():
            check_name("Feature", output)
        for call in self.features:
            for column in call.inputs:
                if column not in columns and column != INSTANT:
                    raise DefinitionError(
                        f"Feature {self.name}:{call.name} takes {column!r}, which is no input of its view",
                        why=did_you_mean(column, columns),
                        fix=f"Declare it; the inputs are {', '.join(columns)}.",
                    )

    def feature_names(self) -> tuple[str, ...]:
        """Return the features' names in the order of the definition."""
        return tuple(call.name for call in self.features) or tuple(name for name, _ in self.outputs)

    def __getitem__(self, names: str | Iterable[str]) -> FeatureSelection:
        """Select one feature by name, or several by a list of names.

        Raises:
            NotFoundError: the view has no such feature.
        """
        return FeatureSelection(self, choose(self.name, self.feature_names(), names))


def _takes_instant(call: Computed) -> bool:
    return INSTANT in call.inputs or INSTANT in str(call.parameters.get("expression", "")).lower()


def _listed(items: Any) -> list[Any]:
    single = FeatureView | OnDemandView | FeatureSelection | RequestField | Computed
    return [items] if isinstance(items, single) else list(items)


def _inputs(view: str, item: object) -> list[tuple[FeatureView | OnDemandView, str, Role | None]]:
    if isinstance(item, FeatureSelection):
        if item.missing is not None:
            raise DefinitionError(
                f"On-demand view {view!r} reads {item.view.name!r} with_missing",
                why="Views see what other views give; only a service's own columns are treated",
                fix="Leave with_missing out, and say it in the service; or give the feature a default in its view.",
            )
        return [(item.view, name, item.role) for name in item.names]
    if isinstance(item, FeatureView | OnDemandView):
        return [(item, name, None) for name in item.feature_names()]
    raise DefinitionError(
        f"On-demand view {view!r} has input {item!r}", fix='List views, or selections such as profile["country"].'
    )
