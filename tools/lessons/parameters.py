"""The lessons, what their `parameters` cells declare, and what a parameter file or the command line sets in them.

papermill only warns of a name that a notebook does not know. Here it is an error before anything runs: a misspelt
parameter must not cost twenty minutes.
https://papermill.readthedocs.io/en/latest/usage-parameterize.html
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from histolab_lite.files import read_yaml
from tools.lessons import LessonsError
from tools.lessons.stamping import source

Parameters = dict[str, Any]
KINDS: tuple[tuple[str, Any], ...] = (
    ("truth value", bool),
    ("number", (int, float)),
    ("text", str),
    ("list", (list, tuple)),
    ("mapping", dict),
)


@dataclass
class Lesson:
    """A notebook, its parameters, and those to be set."""

    path: Path
    declared: Parameters
    chosen: Parameters = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return self.path.stem


def find_lessons(folder: Path, only: list[str] | None = None) -> list[Lesson]:
    """Find the lessons of a folder in reading order, all or those whose names start with one of `only`.

    Raises LessonsError for a name that means no lesson, or a notebook that is no lesson (see `declared`).
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    if not paths:
        raise LessonsError(f"No notebooks in {folder}. Run from a checkout, or name their folder: --lessons.")
    wanted = set() if only else set(paths)
    for name in only or []:
        matches = [stem for stem in paths if name and stem.startswith(name.removesuffix(".ipynb"))]
        if not matches:
            raise LessonsError(f"No lesson starts with '{name}'. The lessons are {', '.join(paths)}.")
        wanted.update(matches)
    chosen = {stem: path for stem, path in paths.items() if stem in wanted}
    return [Lesson(path, declared(nbformat.read(path, as_version=4), stem)) for stem, path in chosen.items()]


def choose_parameters(folder: Path, lessons: list[Lesson], file: Path | None, data: str | None) -> None:
    """Set each lesson's parameters from a file (see `read_parameter_file`), then from `data`.

    Raises LessonsError if a parameter does not fit, or if `data` is given and no lesson here has that parameter.
    """
    if file is not None:
        chosen = read_parameter_file(file, {lesson.stem: lesson.declared for lesson in find_lessons(folder)})
        for lesson in lessons:
            lesson.chosen |= chosen[lesson.stem]
    if data is not None:
        takers = [lesson for lesson in lessons if "data" in lesson.declared]
        if not takers:
            raise LessonsError(f"--data {data}: none of {', '.join(x.stem for x in lessons)} has it.")
        for lesson in takers:
            lesson.chosen["data"] = data


def declared(notebook: Any, stem: str) -> Parameters:
    """Return the parameters of a notebook with their defaults; a default that is no plain value is None.

    Raises LessonsError unless exactly one code cell has the tag `parameters`.
    """
    tagged = [c for c in notebook["cells"] if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1 or tagged[0]["cell_type"] != "code":
        raise LessonsError(f"{stem}: {len(tagged)} cells are tagged 'parameters'; a lesson has one, a code cell.")
    try:
        statements = ast.parse(source(tagged[0])).body
    except SyntaxError as error:
        raise LessonsError(f"{stem}: its parameters cell is not plain Python: {error}") from error
    names: Parameters = {}
    for statement in statements:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and statement.value is not None:
                names[target.id] = _literal(statement.value)
    return names


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:  # an expression, such as 3 * 10: a new value may be of any kind
        return None


def read_parameter_file(path: Path, lessons: Mapping[str, Parameters]) -> dict[str, Parameters]:
    """Read a YAML file as {lesson: {parameter: value}}, checked against what the lessons declare.

    A key of the file is `all`, for every lesson that declares the parameter, or a lesson's name or an unambiguous start
    of it, which wins over `all`. `lessons`: every lesson with its declared parameters. Raises FileNotFoundError, or
    LessonsError naming the file, the lesson and the parameter that do not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No parameter file {path}. notebooks/smoke.yaml and full.yaml are examples.")
    try:
        content = read_yaml(path) or {}
    except ValueError as error:
        raise LessonsError(str(error)) from error
    if not isinstance(content, dict):
        raise LessonsError(f"{path}: expected a mapping from lesson to parameters, not a {_kind(content)}.")
    for key, values in content.items():
        if not isinstance(key, str):
            raise LessonsError(f"{path}: YAML reads the key {key!r} as a number. Put it in quotes: '01'.")
        if not isinstance(values or {}, dict):
            raise LessonsError(f"{path}: under {key} expected `parameter: value` lines.")
    chosen: dict[str, Parameters] = {stem: {} for stem in lessons}
    for name, value in (content.get("all") or {}).items():
        takers = [stem for stem in lessons if name in lessons[stem]]
        if not takers:
            raise LessonsError(f"{path}: no lesson declares the parameter '{name}' that stands under all.")
        for stem in takers:
            chosen[stem][name] = value
    for key, values in content.items():
        if key != "all":
            chosen[_one_lesson(path, key, lessons)].update(values or {})
    for stem, values in chosen.items():
        _check(stem, values, lessons[stem], where=str(path))
    return chosen


def _one_lesson(path: Path, key: str, lessons: Mapping[str, Parameters]) -> str:
    matches = [stem for stem in lessons if stem == key] or [stem for stem in lessons if stem.startswith(key)]
    if len(matches) != 1:
        found = f"means {' and '.join(matches)}" if matches else "means no lesson"
        raise LessonsError(f"{path}: the key '{key}' {found}. The lessons are {', '.join(lessons)}.")
    return matches[0]


def _check(stem: str, values: Parameters, known: Parameters, where: str) -> None:
    """Raise LessonsError for a name that is not declared, or a value of another kind than the default."""
    for name, value in values.items():
        if name not in known:
            raise LessonsError(f"{where}: {stem} has no parameter '{name}'. It has {', '.join(known) or 'none'}.")
        kind, default = _kind(value), _kind(known[name])
        if "nothing" not in (kind, default) and kind != default:
            hint = "YAML reads 1e-3 as text: write 1.0e-3." if (kind, default) == ("text", "number") else ""
            raise LessonsError(
                f"{where}: {stem} expects a {default} for '{name}', not the {kind} {value!r}. {hint}".strip()
            )


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    for kind, types in KINDS:  # bool first: in Python it is a number too
        if isinstance(value, types):
            return kind
    return type(value).__name__
