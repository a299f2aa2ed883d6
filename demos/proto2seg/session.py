"""One visitor's work: the cluster in view, the names, and the tile. Every change returns a new session."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from demos.proto2seg.names import Names, names_from_json
from demos.proto2seg.samples import Clusters, Tile
from demos.shared import memory
from demos.shared.memory import is_whole
from histolab_lite.methods.proto2seg import MIXTURE, PrototypeDictionary, build_dictionary

MOST_EVENTS = 200  # in one message of the page
GAMMA, LARGEST_GAMMA = 5, 20


@dataclass(frozen=True)
class Session:
    """clusters: None before the page is loaded. at: the cluster in view. tile: is queried. own: was uploaded by the
    visitor. loaded: a dictionary from a file, used instead of the names. serial: number of the page's last message, so
    that a message that comes twice counts once."""

    clusters: Clusters | None = None
    names: Names = field(default_factory=Names)
    at: int = 0
    tile: Tile | None = None
    own: Tile | None = None
    gamma: int = GAMMA
    loaded: PrototypeDictionary | None = None
    serial: int = 0

    @property
    def dictionary(self) -> PrototypeDictionary | None:
        """The loaded dictionary, or that of the names; None while no cluster has a class."""
        if self.loaded is not None:
            return self.loaded
        assert self.clusters is not None
        if all(name == MIXTURE for name in self.names.given.values()):
            return None
        return build_dictionary(
            self.clusters.centers, self.names.by_cluster(len(self.clusters)), self.clusters.class_names
        )

    def apply(self, events: list[Any]) -> Session:
        """Apply the events that the page reports, in order. Invalid events are left out.

        ["key", class, seconds] names the cluster in view, ["name", cluster, class, seconds] any cluster; the same name
        again removes it, and class MIXTURE drops the cluster. ["next", seconds], ["back", seconds], ["undo", seconds],
        ["go", cluster].
        """
        assert self.clusters is not None
        number, session = len(self.clusters), self
        names = range(MIXTURE, len(self.clusters.class_names))
        for event in events[:MOST_EVENTS]:
            match event:
                case ["key", int(name), seconds] if name in names:
                    session = session._name(session.at, name, seconds)
                case ["name", int(cluster), int(name), seconds] if cluster in range(number) and name in names:
                    session = session._name(cluster, name, seconds)
                case ["next", seconds]:
                    session = replace(session._spend(session.at, seconds), at=session.open_after(session.at))
                case ["back", seconds]:
                    session = replace(session._spend(session.at, seconds), at=(session.at - 1) % number)
                case ["undo", seconds]:
                    before, at = session._spend(session.at, seconds).names.undo()
                    session = replace(session, names=before, at=session.at if at is None else at, loaded=None)
                case ["go", int(cluster)] if cluster in range(number):
                    session = replace(session, at=cluster)
        return session

    def _name(self, cluster: int, name: int, seconds: Any) -> Session:
        """Name a cluster; the names replace a loaded dictionary."""
        session = self._spend(cluster, seconds)
        again = self.names.given.get(cluster) == name
        return replace(session, names=session.names.set({cluster: None if again else name}), loaded=None)

    def _spend(self, cluster: int, seconds: Any) -> Session:
        return replace(self, names=self.names.spend(cluster, seconds))

    def open_after(self, cluster: int) -> int:
        """The next cluster without a name, after the last one from the first; if all have names, the next one."""
        assert self.clusters is not None
        number = len(self.clusters)
        following = [(cluster + step) % number for step in range(1, number + 1)]
        return next((other for other in following if other not in self.names.given), following[0])

    def start_over(self) -> Session:
        """Remove all names and times; undo brings the names back."""
        names = self.names.set(dict.fromkeys(self.names.given))
        return replace(self, names=replace(names, seconds={}), at=0, loaded=None)


def to_memory(session: Session) -> dict[str, Any]:
    """What the visitor's browser keeps."""
    assert session.clusters is not None
    return memory.to_memory(
        clusters=session.clusters.key,
        names=session.names.to_json(),
        at=session.at,
        tile=session.tile.key if session.tile else None,
        gamma=session.gamma,
        loaded=session.loaded is not None,
    )


def from_memory(kept: Any, clusters: Clusters) -> tuple[str | None, Session]:
    """The key of the last tile, and the session without a tile. Anything that ``to_memory`` did not write, or wrote for
    other clusters, is left out."""
    fresh, kept = Session(clusters), memory.from_memory(kept)
    if kept.get("clusters") != clusters.key:
        return None, fresh
    at, gamma = kept.get("at"), kept.get("gamma")
    return memory.text(kept.get("tile")), replace(
        fresh,
        names=names_from_json(kept.get("names"), len(clusters), len(clusters.class_names)),
        at=at if is_whole(at) and at in range(len(clusters)) else fresh.open_after(-1),
        gamma=gamma if is_whole(gamma) and 1 <= gamma <= LARGEST_GAMMA else GAMMA,
    )
