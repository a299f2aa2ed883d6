"""What a visitor called the clusters, with undo, and the time it took. Nothing here changes in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from demos.shared.reported import clean_seconds, is_number, is_whole
from histolab_lite.methods.proto2seg import MIXTURE

MOST_UNDONE = 100  # changes that can be taken back
LONGEST = 36_000.0  # seconds on one cluster


@dataclass(frozen=True)
class Names:
    """given: cluster -> class id, or MIXTURE where it is dropped. before: what each change put aside, the latest last,
    None where there was no name. seconds: by cluster."""

    given: Mapping[int, int] = field(default_factory=dict)
    before: tuple[Mapping[int, int | None], ...] = ()
    seconds: Mapping[int, float] = field(default_factory=dict)

    def set(self, changes: Mapping[int, int | None]) -> Names:
        """One change, of one cluster or of many; None takes a name back."""
        aside = {cluster: self.given.get(cluster) for cluster in changes}
        if aside == dict(changes):
            return self
        return replace(self._with(changes), before=(*self.before, aside)[-MOST_UNDONE:])

    def undo(self) -> tuple[Names, int | None]:
        """Without the last change; and a cluster that it concerned, None if there is no change left."""
        if not self.before:
            return self, None
        *rest, last = self.before
        return replace(self._with(last), before=tuple(rest)), next(iter(last), None)

    def spend(self, cluster: int, seconds: float) -> Names:
        spent = min(self.seconds.get(cluster, 0.0) + clean_seconds(seconds), LONGEST)
        return replace(self, seconds={**self.seconds, cluster: round(spent, 2)})

    @property
    def mean_seconds(self) -> float | None:
        """Of the clusters that were named or dropped, and took time."""
        spent = [self.seconds[cluster] for cluster in self.given if self.seconds.get(cluster, 0.0) > 0]
        return sum(spent) / len(spent) if spent else None

    def by_cluster(self, number: int) -> torch.Tensor:
        """(K,) class ids; MIXTURE also where nobody has said anything yet."""
        return torch.tensor([self.given.get(cluster, MIXTURE) for cluster in range(number)])

    def _with(self, changes: Mapping[int, int | None]) -> Names:
        given = {**self.given, **changes}
        return replace(self, given={cluster: name for cluster, name in given.items() if name is not None})

    def to_json(self) -> dict[str, Any]:
        return {
            "given": [list(item) for item in self.given.items()],
            "before": [[list(item) for item in change.items()] for change in self.before],
            "seconds": [list(item) for item in self.seconds.items()],
        }


def names_from_json(entry: Any, clusters: int, classes: int) -> Names:
    """Whatever ``Names.to_json`` did not write is left out: it comes from outside."""
    if not isinstance(entry, Mapping):
        return Names()
    given = _pairs(entry.get("given"), clusters, classes)
    changes = entry.get("before") if isinstance(entry.get("before"), list) else []
    before = tuple(aside for change in changes[-MOST_UNDONE:] if (aside := _pairs(change, clusters, classes)))
    seconds = {
        cluster: min(float(spent), LONGEST)
        for cluster, spent in _items(entry.get("seconds"), clusters)
        if is_number(spent) and spent >= 0
    }
    return Names({cluster: name for cluster, name in given.items() if name is not None}, before, seconds)


def _pairs(entry: Any, clusters: int, classes: int) -> dict[int, int | None]:
    return {
        cluster: name
        for cluster, name in _items(entry, clusters)
        if name is None or (is_whole(name) and (name == MIXTURE or 0 <= name < classes))
    }


def _items(entry: Any, clusters: int) -> list[tuple[int, Any]]:
    """(cluster, anything) of a list of pairs."""
    pairs = [pair for pair in entry if isinstance(pair, list) and len(pair) == 2] if isinstance(entry, list) else []
    return [(cluster, value) for cluster, value in pairs[:clusters] if is_whole(cluster) and 0 <= cluster < clusters]
