"""Says how to write an on-demand view by hand: its function is code, which an import neither runs nor copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.migrate.arguments import named
from asof.migrate.python import Call, Symbol, flat
from asof.migrate.values import Items, Made, Name, Projection, Table, Value

if TYPE_CHECKING:
    from asof.migrate.views import Views

WHY = "Its features come from a function, which is not run, and sees other columns here"
_DTYPES = {
    "Bytes": "binary",
    "String": "string",
    "Bool": "bool",
    "Int32": "int32",
    "Int64": "int64",
    "Float32": "float32",
    "Float64": "float64",
    "UnixTimestamp": "timestamp",
}


def report_on_demand(made: Made, views: Views) -> None:
    """Report an on-demand view, with the inputs, request fields and outputs that its replacement declares."""
    sources = made.arguments.get("sources")
    listed = list(sources.pairs.values()) if isinstance(sources, Table) else sources
    inputs, request = [], []
    for one in listed if isinstance(listed, Items | list) else []:
        view = one.view if isinstance(one, Projection) else one
        if not isinstance(view, Made):
            continue
        if view.kind == "RequestSource":
            request += [Call("RequestField", field) for field in _fields(view.arguments.get("schema"))]
        elif view.variable:
            inputs.append(Symbol(view.variable))
    call = Call(
        "OnDemandView",
        (named(made),),
        (
            *([("inputs", inputs)] if inputs else []),
            *([("request", request)] if request else []),
            ("function", Symbol(made.function or "compute")),
            ("outputs", dict(_fields(made.arguments.get("schema")))),
        ),
    )
    views.drop_on_demand(
        made,
        WHY,
        f"Write {flat(call)}, its function over an Arrow batch with columns named view__feature; "
        "or features=[on_demand.sql(…)] for plain expressions.",
    )


def _fields(schema: Value) -> list[tuple[str, str]]:
    found = []
    for one in schema if isinstance(schema, Items) else []:
        if isinstance(one, Made) and isinstance(name := one.arguments.get("name"), str):
            found.append((name, _dtype(one.arguments.get("dtype"))))
    return found


def _dtype(value: Value) -> str:
    if isinstance(value, Made) and value.kind == "Array" and value.positional:
        return f"list<{_dtype(value.positional[0])}>"
    return _DTYPES.get(value.last if isinstance(value, Name) else "", "string")
