"""One visitor's work: points by image, with undo. Every change returns a new session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from demos.cvm.images import InputImage
from demos.shared import memory
from demos.shared.memory import History

OUTSIDE = 0
MOST_TISSUES = 3  # class ids 1 to 3; 0 is outside
MOST_ACTIONS = 300  # per image
MOST_IMAGES = 12

Point = tuple[int, int, int]  # class id, row, column, in pixels of the full image
Action = Point | None  # None clears all points before it


@dataclass(frozen=True)
class Session:
    """image: the one on the page. actions: of the images used last, by image key, the oldest first."""

    image: InputImage | None = None
    actions: Mapping[str, History[Action]] = field(default_factory=dict)

    @property
    def done(self) -> History[Action]:
        """The actions on the current image."""
        assert self.image is not None
        return self.actions.get(self.image.key, History())

    @property
    def points(self) -> list[Point]:
        """The points of the current image, without those that were cleared."""
        if self.image is None:
            return []
        points: list[Point] = []
        for action in self.done:
            points = [] if action is None else [*points, action]
        height, width = self.image.size
        return [(name, row, column) for name, row, column in points if row < height and column < width]

    def by_class(self) -> dict[int, list[tuple[int, int]]]:
        """Class id -> (row, column) of its points, tissues first."""
        points = self.points
        order = sorted({name for name, _, _ in points}, key=lambda name: (name == OUTSIDE, name))
        return {name: [(row, column) for own, row, column in points if own == name] for name in order}

    def show(self, image: InputImage) -> Session:
        """Go to an image."""
        done = self.actions.get(image.key, History())
        return Session(image, memory.used_last(self.actions, image.key, done, MOST_IMAGES))

    def add(self, name: int, row: int, column: int) -> Session:
        """Add a point. ValueError if it lies off the image, or if there are too many."""
        assert self.image is not None
        height, width = self.image.size
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(
                f"The point x = {column}, y = {row} lies off the image: x goes from 0 to {width - 1}, "
                f"y from 0 to {height - 1}."
            )
        full = f"There are {MOST_ACTIONS} clicks on this image already. Clear them, or undo some."
        return self._with(self.done.add((name, row, column), MOST_ACTIONS, full))

    def undo(self) -> Session:
        """Take back the last point, or the last clearing."""
        return self if self.image is None else self._with(self.done.undo())

    def clear(self) -> Session:
        """Remove all points of the image; ``undo`` brings them back."""
        if self.image is None or not self.points:
            return self
        return self._with(self.done.add(None, MOST_ACTIONS))

    def _with(self, actions: History[Action]) -> Session:
        assert self.image is not None
        return replace(self, actions={**self.actions, self.image.key: actions})


def to_memory(session: Session) -> dict[str, Any]:
    """What the visitor's browser keeps for the next visit: points and digests, but no pixels."""
    return memory.to_memory(
        image=session.image.key if session.image else None,
        title=session.image.title if session.image else None,
        actions={key: [action and list(action) for action in done] for key, done in session.actions.items() if done},
    )


def from_memory(kept: Any) -> tuple[str | None, Session]:
    """The key of the last image, and a session without an image. Anything ``to_memory`` did not write is left out."""
    kept = memory.from_memory(kept)
    return memory.text(kept.get("image")), Session(None, memory.works(kept.get("actions"), _history, MOST_IMAGES))


def _history(entry: Any) -> History[Action]:
    done = memory.fitting(memory.listed(entry)[:MOST_ACTIONS], _action)
    if not done:
        raise memory.Unfit
    return History(done)


def _action(entry: Any) -> Action:
    if entry is None:
        return None
    name, row, column = memory.numbers(entry, range(MOST_TISSUES + 1), range(10**6), range(10**6))
    return name, row, column
