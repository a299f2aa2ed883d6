"""What a lesson's `parameters` cell declares, and what a parameter file or the command line sets in it.

papermill only warns when it is handed a name that a notebook does not know; here that is an error, said
before anything runs: a misspelt parameter must not cost twenty minutes.
https://papermill.readthedocs.io/en/latest/usage-parameterize.html
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histolab_lite.files import read_yaml
from tools.lessons.stamping import source

Parameters = dict[str, Any]
KINDS: tuple[tuple[str, Any], ...] = (
    ("truth value", bool),
    ("number", (int, float)),
    ("text", str),
    ("list", (list, tuple)),
    ("mapping", dict),
)


class LessonError(ValueError):
    """Something about a lesson, or about what was asked of it, that must be put right before it can run."""


def declared(notebook: Any, stem: str) -> Parameters:
    """The parameters of a notebook with their defaults; a default that is no plain value counts as None.

    Raises LessonError unless exactly one code cell carries the tag `parameters` and assigns plain names.
    """
    tagged = [c for c in notebook["cells"] if "parameters" in c.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1 or tagged[0]["cell_type"] != "code":
        raise LessonError(
            f"{stem}: {len(tagged)} cells are tagged 'parameters'; a lesson has exactly one, a code cell."
        )
    try:
        statements = ast.parse(source(tagged[0])).body
    except SyntaxError as error:
        raise LessonError(f"{stem}: its parameters cell is not plain Python: {error}") from error
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
    except ValueError:  # an expression, such as 3 * 10: it has no kind to hold a new value to
        return None


def read_parameter_file(path: Path, lessons: Mapping[str, Parameters]) -> dict[str, Parameters]:
    """A YAML file as {lesson: {parameter: value}}, checked against what the lessons declare.

    Keys of the file are `all` (set wherever it is declared) or a lesson's name or unambiguous prefix, which
    wins over `all`. `lessons`: every lesson with its declared parameters. Raises FileNotFoundError, or
    LessonError naming the file, the lesson and the parameter that do not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No parameter file {path}. notebooks/smoke.yaml and full.yaml are examples.")
    try:
        content = read_yaml(path) or {}
    except ValueError as error:
        raise LessonError(str(error)) from error
    if not isinstance(content, dict):
        raise LessonError(f"{path}: expected a mapping from lesson to parameters, not a {_kind(content)}.")
    for key, values in content.items():
        if not isinstance(key, str):
            raise LessonError(f"{path}: YAML reads the key {key!r} as a number. Put it in quotes: '01'.")
        if not isinstance(values or {}, dict):
            raise LessonError(f"{path}: under {key} expected `parameter: value` lines.")
    chosen: dict[str, Parameters] = {stem: {} for stem in lessons}
    for name, value in (content.get("all") or {}).items():
        takers = [stem for stem in lessons if name in lessons[stem]]
        if not takers:
            raise LessonError(f"{path}: no lesson declares the parameter '{name}' that stands under all.")
        for stem in takers:
            chosen[stem][name] = value
    for key, values in content.items():
        if key != "all":
            chosen[_one_lesson(path, key, lessons)].update(values or {})
    for stem, values in chosen.items():
        check(stem, values, lessons[stem], where=str(path))
    return chosen


def _one_lesson(path: Path, key: str, lessons: Mapping[str, Parameters]) -> str:
    matches = [stem for stem in lessons if stem == key] or [stem for stem in lessons if stem.startswith(key)]
    if len(matches) != 1:
        found = f"means {' and '.join(matches)}" if matches else "means no lesson"
        raise LessonError(f"{path}: the key '{key}' {found}. The lessons are {', '.join(lessons)}.")
    return matches[0]


def check(stem: str, values: Parameters, known: Parameters, where: str) -> None:
    """Raise LessonError where a value's name is not declared, or its kind is not that of the default."""
    for name, value in values.items():
        if name not in known:
            raise LessonError(
                f"{where}: {stem} has no parameter '{name}'. It has {', '.join(known) or 'none'}."
            )
        kind, default = _kind(value), _kind(known[name])
        if "nothing" not in (kind, default) and kind != default:
            hint = "YAML reads 1e-3 as text: write 1.0e-3." if (kind, default) == ("text", "number") else ""
            raise LessonError(
                f"{where}: {stem} expects a {default} for '{name}', not the {kind} {value!r}. {hint}".strip()
            )


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    for kind, types in KINDS:  # bool first: in Python it is a number too
        if isinstance(value, types):
            return kind
    return type(value).__name__
