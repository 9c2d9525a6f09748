"""Turns Feast's feature services into services, renamed and mapped views into roles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asof.migrate.arguments import Arguments, named
from asof.migrate.findings import NotCarriedError
from asof.migrate.python import Call, Chosen, Symbol
from asof.migrate.values import Made, Projection, Value

if TYPE_CHECKING:
    from asof.migrate.arguments import Labels
    from asof.migrate.findings import Findings, Place
    from asof.migrate.python import Names
    from asof.migrate.views import Viewed, Views


@dataclass
class Services:
    """Translates feature services.

    Attributes:
        written: Variables and calls, in the order of the repository.
    """

    views: Views
    findings: Findings
    labels: Labels
    names: Names
    written: list[tuple[str, Call]] = field(default_factory=list)

    def carry(self, made: Made) -> None:
        """Write a service, or report why there is none."""
        arguments = Arguments(made, f"service {named(made)!r}", self.findings)
        try:
            self._carry(made, arguments)
        except NotCarriedError as error:
            self.findings.dropped(error.place or made.place, arguments.what, error.why, error.instead)

    def _carry(self, made: Made, arguments: Arguments) -> None:
        given = arguments.need_text("name")
        if not given:
            raise NotCarriedError(made.place, "It has no name", "Name it.")
        features: list[Value] = []
        for one in arguments.items("features"):
            try:
                features.append(self._listed(one, made, arguments.what))
            except NotCarriedError as error:
                what = f"{_shown(one)} in {arguments.what}"
                self.findings.dropped(_place(one, made), what, error.why, error.instead)
        if not features:
            raise NotCarriedError(made.place, "None of its features is carried over", "Write it once they are there.")
        arguments.leave(
            "logging_config", "Asof's serving log is a setting of the server", "Start `asof serve` with a serving log."
        )
        arguments.leave("precompute_online", "Asof reads all views of a service at once", "Nothing to do.")
        keywords = [("features", features), *arguments.common()]
        arguments.finish()
        name = self.labels.give("service", given, made)
        variable = self.names.give(made.variable, name, f"{name}_service")
        self.written.append((variable, Call("FeatureService", (name,), tuple(keywords))))

    def _listed(self, one: Value, made: Made, what: str) -> Value:
        if isinstance(one, str):
            return self._reference(one, made)
        if isinstance(one, Made):
            return Symbol(self.views.carry(one).variable)
        if not isinstance(one, Projection):
            raise NotCarriedError(made.place, "It is no view", "List views.")
        view = self.views.carry(one.view)
        base = self._role(one, view, what) if one.alias or one.keys else Symbol(view.variable)
        return base if one.features is None else Chosen(base, _names(view, one.features, made))

    def _reference(self, text: str, made: Made) -> Value:
        name, _, feature = text.partition(":")
        name, _, version = name.partition("@")
        found = self.views.named(name)
        if found is None:
            raise NotCarriedError(made.place, f"There is no view {name!r}", "Correct the name.")
        if version and version != "latest":
            raise NotCarriedError(
                made.place,
                "It pins a version of Feast's registry",
                "List the view; Asof's services pin versions by themselves.",
            )
        view = self.views.carry(found)
        symbol = Symbol(view.variable)
        return Chosen(symbol, _names(view, (feature,), made)) if feature else symbol

    def _role(self, one: Projection, view: Viewed, what: str) -> Call:
        keys = {key: column for key, column in one.keys if key in view.join_keys}
        if not view.join_keys or (one.keys and not keys):
            raise NotCarriedError(
                one.place, "It maps no join key of its view", f"Map one of {', '.join(view.join_keys) or 'none'}."
            )
        wanted = one.alias or "_".join(keys.values())
        role = self.labels.give("role", wanted, one.view, within=f"{what}{one.place}{wanted}", quiet=True)
        self.findings.differs(
            one.place,
            f"columns of {one.alias or view.name!r} in {what} are called {role}__{view.name}__…",
            "Asof keeps the view's name behind that of its role",
            "Use the new names in code that reads them.",
        )
        return Call(f"{view.variable}.with_role", (role,), (("keys", keys or {key: key for key in view.join_keys}),))


def _names(view: Viewed, features: tuple[str, ...], made: Made) -> str | list[str]:
    unknown = [one for one in features if one not in view.features]
    if unknown or not features:
        raise NotCarriedError(
            made.place,
            f"The view has no feature {unknown[0]!r}" if unknown else "It lists no feature",
            "List features that are carried over.",
        )
    found = [view.features[one] for one in features]
    return found[0] if len(found) == 1 else found


def _place(one: Value, made: Made) -> Place:
    return one.place if isinstance(one, Projection) else made.place


def _shown(one: Value) -> str:
    if isinstance(one, str):
        return repr(one)
    view = one.view if isinstance(one, Projection) else one
    return repr(named(view)) if isinstance(view, Made) else "an element"
