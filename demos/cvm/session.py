"""What one visitor did: points by picture, with undo. Nothing here changes in place, and nothing is shared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from demos.cvm.pictures import Picture

OUTSIDE = 0
MOST_TISSUES = 3  # class ids 1 to 3; 0 is outside
MOST_ACTIONS = 300  # a picture
MOST_PICTURES = 12

Point = tuple[int, int, int]  # class id, row, column, in pixels of the full picture
Action = Point | None  # None clears all points before it


@dataclass(frozen=True)
class Session:
    """picture: the one on the page. actions: by picture key, the oldest first, of the pictures used last."""

    picture: Picture | None = None
    actions: Mapping[str, tuple[Action, ...]] = field(default_factory=dict)

    @property
    def points(self) -> list[Point]:
        """Those of the current picture that stand."""
        if self.picture is None:
            return []
        points: list[Point] = []
        for action in self.actions.get(self.picture.key, ()):
            points = [] if action is None else [*points, action]
        height, width = self.picture.size
        return [(name, row, column) for name, row, column in points if row < height and column < width]

    def by_class(self) -> dict[int, list[tuple[int, int]]]:
        """Class id -> (row, column) of its points, tissues first."""
        points = self.points
        order = sorted({name for name, _, _ in points}, key=lambda name: (name == OUTSIDE, name))
        return {name: [(row, column) for own, row, column in points if own == name] for name in order}

    def show(self, picture: Picture) -> Session:
        kept = {key: done for key, done in self.actions.items() if key != picture.key}
        kept[picture.key] = self.actions.get(picture.key, ())
        return Session(picture, dict(list(kept.items())[-MOST_PICTURES:]))

    def add(self, name: int, row: int, column: int) -> Session:
        """ValueError for a point off the picture, or one too many."""
        assert self.picture is not None
        height, width = self.picture.size
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(
                f"The point x = {column}, y = {row} lies off the picture: x goes from 0 to {width - 1}, "
                f"y from 0 to {height - 1}."
            )
        done = self.actions.get(self.picture.key, ())
        if len(done) >= MOST_ACTIONS:
            raise ValueError(f"There are {MOST_ACTIONS} clicks on this picture already. Clear them, or undo some.")
        return self._with((*done, (name, row, column)))

    def undo(self) -> Session:
        """Takes back the last point, or the last clearing."""
        return self if self.picture is None else self._with(self.actions.get(self.picture.key, ())[:-1])

    def clear(self) -> Session:
        if self.picture is None or not self.points:
            return self
        return self._with((*self.actions.get(self.picture.key, ())[1 - MOST_ACTIONS :], None))

    def _with(self, actions: tuple[Action, ...]) -> Session:
        assert self.picture is not None
        return replace(self, actions={**self.actions, self.picture.key: actions})


def to_memory(session: Session) -> dict[str, Any]:
    """What the visitor's browser keeps for the next visit: points and digests, never a picture."""
    return {
        "version": 1,
        "picture": session.picture.key if session.picture else None,
        "title": session.picture.title if session.picture else None,
        "actions": {key: [action and list(action) for action in done] for key, done in session.actions.items() if done},
    }


def from_memory(memory: Any) -> tuple[str | None, Session]:
    """The last picture's key, and a session without a picture. Whatever is not as ``to_memory`` wrote it is left out:
    it comes from outside."""
    if not isinstance(memory, Mapping) or memory.get("version") != 1 or not isinstance(memory.get("actions"), Mapping):
        return None, Session()
    actions: dict[str, tuple[Action, ...]] = {}
    for key, done in list(memory["actions"].items())[-MOST_PICTURES:]:
        if isinstance(key, str) and len(key) <= 100 and isinstance(done, list):
            actions[key] = tuple(_action(action) for action in done[:MOST_ACTIONS] if _is_action(action))
    picture = memory.get("picture")
    return picture if isinstance(picture, str) else None, Session(None, actions)


def _action(action: Any) -> Action:
    return None if action is None else (int(action[0]), int(action[1]), int(action[2]))


def _is_action(action: Any) -> bool:
    if action is None:
        return True
    if not isinstance(action, list) or len(action) != 3:
        return False
    whole = all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value == int(value)
        for value in action
    )
    return whole and 0 <= action[0] <= MOST_TISSUES and 0 <= action[1] < 10**6 and 0 <= action[2] < 10**6
