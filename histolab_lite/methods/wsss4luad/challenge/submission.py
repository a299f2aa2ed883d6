"""A submission holds one mask per image, with the same name. Check it, score it, and pack it for the challenge.

Predictions hold 0 tumour, 1 stroma, 2 normal and 3 white (Sect. III-D2). They are palette PNG files, or grey PNG files
of the same numbers, which participants have submitted. They lie in one folder, or at the top of one zip archive.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from histolab_lite.files import leads_outside, write_atomically
from histolab_lite.methods.wsss4luad.challenge.checks import Problem, is_numbered
from histolab_lite.methods.wsss4luad.challenge.files import BACKGROUNDS, IMAGES, MASKS, PALETTE, number
from histolab_lite.methods.wsss4luad.challenge.images import (
    MOST_BYTES,
    ImageError,
    decode_background,
    decode_ids,
    read_bytes,
    read_header,
)
from histolab_lite.methods.wsss4luad.challenge.scores import Scores, challenge_scores

Size = tuple[int, int]


class SubmissionError(ValueError):
    """A submission has problems: the message lists all of them, and `problems` holds them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(["the submission cannot be used:", *map(str, problems)]))
        self.problems = problems


def check_submission(prediction: str | Path, truth: str | Path) -> list[Problem]:
    """List all problems of a submission, in the order of its files. No file of the submission raises.

    Parameters
    ----------
    prediction
        A folder of PNG files, or a zip archive of them.
    truth
        A folder that holds ``mask`` or ``img``, such as 3.testing, or one of those two folders. The submission must
        have the names and sizes of its images.

    Returns
    -------
    list of Problem
        Empty if the submission is whole.

    Raises
    ------
    FileNotFoundError
        If the submission or the truth does not exist.
    ValueError
        If the truth holds no image, or a damaged one.
    """
    wanted = expected_sizes(truth)
    with _Source(prediction) as source:
        return _problems(source, wanted)


def score_submission(prediction: str | Path, truth: str | Path) -> Scores:
    """Compute the challenge's scores of a whole submission.

    Parameters
    ----------
    prediction
        As in `check_submission`.
    truth
        A folder that holds ``mask`` and, for white that the masks do not hold, ``background-mask``; or a folder of
        masks.

    Raises
    ------
    SubmissionError
        If the submission has problems.
    FileNotFoundError, ValueError
        As `check_submission`; also for a damaged background mask.
    """
    wanted = expected_sizes(truth)
    masks = Path(truth) / MASKS if (Path(truth) / MASKS).is_dir() else Path(truth)
    with _Source(prediction) as source:
        problems = _problems(source, wanted)
        if problems:
            raise SubmissionError(problems)
        return challenge_scores(
            (decode_ids(source.read(name), PALETTE) for name in wanted),
            (_truth(masks / name, size) for name, size in wanted.items()),
        )


def pack(prediction: str | Path, truth: str | Path, archive: str | Path) -> Path:
    """Write the submission's zip archive and return its path: the same bytes for the same predictions.

    The archive is written whole or not at all.

    Parameters
    ----------
    prediction, truth
        As in `check_submission`; 3.testing/img is enough as the truth.
    archive
        Path with the suffix .zip.

    Raises
    ------
    SubmissionError
        If the submission has problems.
    FileNotFoundError, ValueError
        As `check_submission`; also for another suffix.
    """
    if Path(archive).suffix != ".zip":
        raise ValueError(f"a submission is a .zip archive, not {Path(archive).name}.")
    wanted = expected_sizes(truth)
    with _Source(prediction) as source:
        problems = _problems(source, wanted)
        if problems:
            raise SubmissionError(problems)

        def write(temporary: Path) -> None:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:  # PNG files are already compressed
                for name in wanted:
                    entry = zipfile.ZipInfo(name)  # with a fixed date
                    entry.create_system, entry.external_attr = 3, 0o644 << 16
                    file.writestr(entry, source.read(name))

        return write_atomically(archive, write)


def expected_sizes(truth: str | Path) -> dict[str, Size]:
    """Read the names and sizes (H, W) of the images that `check_submission` expects."""
    truth = Path(truth)
    if not truth.is_dir():
        raise FileNotFoundError(f"there is no folder {truth}.")
    folder = next((truth / kind for kind in (MASKS, IMAGES) if (truth / kind).is_dir()), truth)
    sizes = {}
    for path in sorted(folder.glob("*.png"), key=number):
        try:
            header = read_header(read_bytes(path))
        except ImageError as error:
            raise ValueError(f"{path}: {error}") from error
        sizes[path.name] = (header.height, header.width)
    if not sizes:
        raise ValueError(f"{folder} holds no PNG file to compare with.")
    return sizes


def _truth(path: Path, size: Size) -> np.ndarray:
    beside = path.parent.parent / BACKGROUNDS / path.name
    try:
        mask = decode_ids(read_bytes(path), PALETTE, size)
        if path.parent.name == MASKS and beside.is_file():
            mask[decode_background(read_bytes(beside), size)] = len(PALETTE) - 1
    except ImageError as error:
        raise ValueError(f"{path}: {error}") from error
    return mask


def _problems(source: "_Source", wanted: dict[str, Size]) -> list[Problem]:
    if not source.opened:
        return source.problems
    return sorted(_check(source, wanted), key=lambda problem: number(Path(problem.path)))


def _check(source: "_Source", wanted: dict[str, Size]) -> Iterator[Problem]:
    yield from source.problems
    named = {problem.path for problem in source.problems}
    present = source.names
    for name, size in wanted.items():
        if name in named:
            continue
        if name not in present:
            yield Problem(name, "is missing.")
            continue
        try:
            decode_ids(source.read(name), PALETTE, size)
        except ImageError as error:
            yield Problem(name, str(error))
    for name in present - wanted.keys() - named:
        yield Problem(name, _extra(name, wanted))


def _extra(name: str, wanted: dict[str, Size]) -> str:
    """Say why a name is not expected, and which name may be meant."""
    digits = Path(name).stem.split(".")[0]
    if digits.isascii() and digits.isdigit():
        for other in wanted:
            if is_numbered(other) and int(Path(other).stem) == int(digits):
                return f"is misnamed: {other} is expected."
    return "is not expected: no image has this name."


class _Source:
    """Files of a folder or an archive, by name; `problems` lists the entries that cannot be a prediction."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.problems: list[Problem] = []
        self.names: set[str] = set()
        self.opened = True
        self._archive: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}
        if not self.path.exists():
            raise FileNotFoundError(f"there is no submission at {self.path}.")
        if self.path.is_dir():
            self._list(self._look_at_file, sorted(os.listdir(self.path)))
        else:
            self._open()

    def __enter__(self) -> "_Source":
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()

    def read(self, name: str) -> bytes:
        """Read the content of a file; ImageError if it cannot be read."""
        if self._archive is None:
            return read_bytes(self.path / name)
        try:
            with self._archive.open(self._members[name]) as file:
                content = file.read(MOST_BYTES + 1)  # the size in the archive's directory may be wrong
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
            raise ImageError(f"cannot be unpacked ({error}).") from error
        if len(content) > MOST_BYTES:
            raise ImageError(f"the file is larger than {MOST_BYTES:,} bytes.")
        return content

    def _list(self, look: Callable[[str], str | None], names: list[str]) -> None:
        for name in names:
            reason = look(name)
            if reason:
                self.problems.append(Problem(name, reason))
            else:
                self.names.add(name)

    def _look_at_file(self, name: str) -> str | None:
        path = self.path / name
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not path.exists():
                    return "is a link to a file that is not there."
                if not path.resolve().is_relative_to(self.path.resolve()):
                    return "is a link to a file outside the submission."
                mode = path.stat().st_mode
        except OSError as error:
            return f"cannot be read: {error.strerror}."
        if stat.S_ISDIR(mode):
            return "is a folder; predictions lie at the top of the submission."
        return None if stat.S_ISREG(mode) else "is no plain file."

    def _open(self) -> None:
        try:
            if not self.path.is_file():
                raise ValueError("no plain file")
            self._archive = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            self.problems.append(Problem(self.path.name, f"is neither a folder nor a zip archive ({error})."))
            self.opened = False
            return
        counts: dict[str, int] = {}
        for member in self._archive.infolist():
            counts[member.filename] = counts.get(member.filename, 0) + 1
            self._members[member.filename] = member
        for name, count in counts.items():
            if count > 1:
                self.problems.append(Problem(name, f"is {count} times in the archive."))
        self._list(self._look_at_member, [name for name, count in counts.items() if count == 1])

    def _look_at_member(self, name: str) -> str | None:
        member = self._members[name]
        parts = name.replace("\\", "/").split("/")
        if leads_outside(name):
            return "is a name that leads out of the archive."
        if len(parts) > 1:
            return "is in a folder; predictions lie at the top of the archive."
        if stat.S_ISLNK(member.external_attr >> 16):
            return "is a link, not a file."
        if member.flag_bits & 1:
            return "is encrypted."
        return f"unpacks to more than {MOST_BYTES:,} bytes." if member.file_size > MOST_BYTES else None
