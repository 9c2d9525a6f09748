"""The demonstration's model: late or not, trained on the past, scored on the months that follow."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from asof.definitions import EventView, FeatureService, FeatureView, FileSource, StateView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    import numpy as np
    import polars as pl

LATE_MINUTES = 15
KNOWN_INPUTS = ("distance", "hour")
_ROUNDS = 80
_FLAGGED_SHARE = 0.1


@dataclass(frozen=True)
class Score:
    """How a model did on flights that it had not seen.

    Attributes:
        auc: Chance that a late flight is ranked above a punctual one; 0.5 is guessing.
        caught: Share of truly late flights among the tenth that the model is surest about.
        expected: Share of late flights that the model's probabilities add up to.
    """

    auc: float
    caught: float
    expected: float


@dataclass(frozen=True)
class Comparison:
    """One model trained on what was known, one on what leaked, each scored on claimed and on real inputs.

    Attributes:
        trained: Flights before the cut.
        tested: Flights after it.
        features: How many both models read.
        late: Share of the tested flights that arrived late.
        honest: Trained and tested on point-in-time features: what serving gives.
        claimed: Trained and tested on leaking features: what a leaking training set reports.
        delivered: The same leaking model on what is really known at departure.
    """

    trained: int
    tested: int
    features: int
    late: float
    honest: Score
    claimed: Score
    delivered: Score


def without_availability(service: FeatureService, root: Path) -> list[FeatureView]:
    """Return the service's views over files as they would be had nobody recorded when a row became known.

    Every source loses its `available_at` or `delay`, so a row counts from its event time on; paths start at `root`.
    Left out are batch views, whose runs record it themselves, on-demand views, and places, which never change.
    """
    listed = zip(service.features, service.roles, strict=True)
    plain = [view for (view, _), role in listed if role is None and isinstance(view, FeatureView)]
    files = {view: view.source for view in plain if isinstance(view.source, FileSource)}
    sources = {source.name: _forgetful(source, root) for source in files.values()}
    return [_with_source(view, sources[source.name]) for view, source in files.items()]


def _forgetful(source: FileSource, root: Path) -> FileSource:
    return replace(source, path=str((root / source.path).resolve()), available_at=None, delay=None)


def _with_source(view: FeatureView, source: FileSource) -> FeatureView:
    if isinstance(view, EventView):
        return EventView(view.name, entity=view.entity, source=source, features=view.aggregates)
    if isinstance(view, StateView):
        ttl = None if view.ttl_us is None else timedelta(microseconds=view.ttl_us)
        return StateView(view.name, entity=view.entity, source=source, features=view.features, ttl=ttl)
    raise TypeError(f"unknown kind of view: {view!r}")


def compare(honest: pl.DataFrame, leaking: pl.DataFrame, cut: datetime) -> Comparison:
    """Train a model on each training set before `cut`, and score both after it.

    Args:
        honest: Point-in-time features with `event_timestamp`, `arr_delay` and the known inputs.
        leaking: The same rows, computed without `available_at`; both models read its features only.
        cut: Flights before it train, flights from it on test.
    """
    arrived = honest["arr_delay"].is_not_null().to_numpy()
    late = (honest["arr_delay"] > LATE_MINUTES).fill_null(False).to_numpy()
    before = (honest["event_timestamp"] < cut).to_numpy()
    train, test = arrived & before, arrived & ~before
    features = _features(leaking)
    known, leaked = _inputs(honest, features), _inputs(leaking, features)
    model, leaking_model = _fit(known[train], late[train]), _fit(leaked[train], late[train])
    return Comparison(
        trained=int(train.sum()),
        tested=int(test.sum()),
        features=len(features),
        late=float(late[test].mean()),
        honest=_score(model, known[test], late[test]),
        claimed=_score(leaking_model, leaked[test], late[test]),
        delivered=_score(leaking_model, known[test], late[test]),
    )


def _features(frame: pl.DataFrame) -> list[str]:
    from polars import selectors

    return frame.select(selectors.contains("__") & selectors.numeric()).columns


def _inputs(frame: pl.DataFrame, features: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    import numpy as np

    return frame.select(*KNOWN_INPUTS, *features).to_numpy().astype(np.float32)


def _fit(inputs: np.ndarray[Any, Any], late: np.ndarray[Any, Any]) -> Any:
    # Waiting threads that spin take the processor from those that work, where other programs want it too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=_ROUNDS, random_state=0).fit(inputs, late)


def _score(model: Any, inputs: np.ndarray[Any, Any], late: np.ndarray[Any, Any]) -> Score:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    chance = model.predict_proba(inputs)[:, 1]
    flagged = np.argsort(-chance)[: max(1, int(len(chance) * _FLAGGED_SHARE))]
    return Score(float(roc_auc_score(late, chance)), float(late[flagged].mean()), float(chance.mean()))
