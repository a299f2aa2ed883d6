"""The names that a visitor gave to clusters, with undo, and the time it took. Every change returns a new object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from demos.shared import memory
from demos.shared.memory import History, Unfit, clean_seconds, is_number
from histolab_lite.methods.proto2seg import MIXTURE

MOST_UNDONE = 100  # changes that can be taken back
LONGEST = 36_000.0  # seconds on one cluster


@dataclass(frozen=True)
class Names:
    """given: cluster -> class id, or MIXTURE if it is dropped. before: per change, the names that it replaced, None for
    no name; the latest last. seconds: by cluster."""

    given: Mapping[int, int] = field(default_factory=dict)
    before: History[Mapping[int, int | None]] = History()
    seconds: Mapping[int, float] = field(default_factory=dict)

    def set(self, changes: Mapping[int, int | None]) -> Names:
        """Make one change, of one cluster or several; None removes a name."""
        aside = {cluster: self.given.get(cluster) for cluster in changes}
        if aside == dict(changes):
            return self
        return replace(self._with(changes), before=self.before.add(aside, MOST_UNDONE))

    def undo(self) -> tuple[Names, int | None]:
        """Take back the last change. Also returns a cluster that it concerned; None if no change is left."""
        if not self.before:
            return self, None
        last = self.before[-1]
        return replace(self._with(last), before=self.before.undo()), next(iter(last), None)

    def spend(self, cluster: int, seconds: float) -> Names:
        """Add to the time of a cluster."""
        spent = min(self.seconds.get(cluster, 0.0) + clean_seconds(seconds), LONGEST)
        return replace(self, seconds={**self.seconds, cluster: round(spent, 2)})

    @property
    def mean_seconds(self) -> float | None:
        """Mean time of the clusters that were named or dropped."""
        spent = [self.seconds[cluster] for cluster in self.given if self.seconds.get(cluster, 0.0) > 0]
        return sum(spent) / len(spent) if spent else None

    def by_cluster(self, number: int) -> torch.Tensor:
        """(K,) class ids; MIXTURE also for clusters without a name."""
        return torch.tensor([self.given.get(cluster, MIXTURE) for cluster in range(number)])

    def _with(self, changes: Mapping[int, int | None]) -> Names:
        given = {**self.given, **changes}
        return replace(self, given={cluster: name for cluster, name in given.items() if name is not None})

    def to_json(self) -> dict[str, Any]:
        """As lists and numbers."""
        return {
            "given": [list(item) for item in self.given.items()],
            "before": [[list(item) for item in change.items()] for change in self.before],
            "seconds": [list(item) for item in self.seconds.items()],
        }


def names_from_json(entry: Any, clusters: int, classes: int) -> Names:
    """Read what ``Names.to_json`` wrote; anything else is left out."""
    if not isinstance(entry, Mapping):
        return Names()

    def pairs(entry: Any, read: Callable[[Any], tuple[int, Any]]) -> dict[int, Any]:
        return dict(memory.fitting(memory.listed(entry), read)[:clusters])

    def named(pair: Any) -> tuple[int, int | None]:
        cluster, name = _pair(pair, clusters)
        return cluster, None if name is None else memory.numbers([name], range(MIXTURE, classes))[0]

    def spent(pair: Any) -> tuple[int, float]:
        cluster, seconds = _pair(pair, clusters)
        if not is_number(seconds) or seconds < 0:
            raise Unfit
        return cluster, min(float(seconds), LONGEST)

    given = {cluster: name for cluster, name in pairs(entry.get("given"), named).items() if name is not None}
    changes = memory.listed(entry.get("before"))[-MOST_UNDONE:]
    before: History[Mapping[int, int | None]] = History(aside for item in changes if (aside := pairs(item, named)))
    return Names(given, before, pairs(entry.get("seconds"), spent))


def _pair(pair: Any, clusters: int) -> tuple[int, Any]:
    """A cluster and an unchecked value. Raises Unfit."""
    if not isinstance(pair, list) or len(pair) != 2:
        raise Unfit
    return memory.numbers(pair[:1], range(clusters))[0], pair[1]
