"""What is left of a run that was stopped: a folder of finished bands, and the settings they were made with."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from histolab_lite.files import read_json, sealed, unsealed, write_atomically


class BandFolder:
    """Bands are files that are there whole or not at all: ids, uint8 (rows, W), deflated and sealed.

    They are named by strip and rows.

    Raises ValueError for a folder of other files, and for one begun with other settings, which it names.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        file = folder / "settings.json"
        if not file.exists():
            if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
                raise ValueError(f"{folder.name} is needed for finished bands but holds other files. Move it away.")
            write_atomically(file, json.dumps(settings, indent=1).encode())
        try:
            begun = dict(read_json(file))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{folder.name}/settings.json is damaged. Delete {folder.name} to start again.") from error
        for key, wanted in json.loads(json.dumps(settings)).items():
            if begun.get(key) != wanted:
                raise ValueError(
                    f"a stopped run in {folder.name} was begun with {key} {begun.get(key)!r} where {wanted!r} is asked "
                    f"for. Ask for the same to continue it, or delete {folder.name} to start again."
                )

    def _files(self, strip: int) -> list[Path]:
        return sorted(self.folder.glob(f"{strip:04d}-*.ids"))

    def finished(self, strip: int) -> int:
        """How many rows of the strip are there, from the top."""
        return max((int(path.stem.split("-")[2]) for path in self._files(strip)), default=0)

    def write(self, strip: int, row: int, ids: np.ndarray) -> None:
        path = self.folder / f"{strip:04d}-{row:09d}-{row + len(ids):09d}.ids"
        write_atomically(path, sealed(zlib.compress(ids.tobytes(), 1)))

    def bands(self, strip: int, width: int) -> Iterator[np.ndarray]:
        """All bands of a finished strip, from the top: uint8 (rows, width)."""
        row = 0
        try:
            for path in self._files(strip):
                start, stop = (int(number) for number in path.stem.split("-")[1:])
                if start != row:
                    raise ValueError(f"no band begins at row {row}")
                yield np.frombuffer(zlib.decompress(unsealed(path.read_bytes())), np.uint8).reshape(stop - start, width)
                row = stop
        except (zlib.error, ValueError) as error:
            name = self.folder.name
            raise ValueError(f"the bands in {name} are damaged ({error}). Delete {name} to start again.") from error

    def remove(self) -> None:
        shutil.rmtree(self.folder)
