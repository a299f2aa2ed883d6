"""Names that a visitor gives to classes."""

from __future__ import annotations

MOST_CLASSES, LONGEST_NAME = 9, 30


class NamesError(ValueError):
    """Names that cannot be used. The message is for the visitor."""


def class_names(text: str, most: int = MOST_CLASSES) -> tuple[str, ...]:
    """Split the text at its commas into two names or more. NamesError says what is wrong with them."""
    names = tuple(" ".join(name.split()) for name in text.split(",") if name.strip())
    if not 2 <= len(names) <= most:
        raise NamesError(f"Name 2 to {most} classes, separated by commas, such as: tumour, stroma, necrosis.")
    for name in names:
        if len(name) > LONGEST_NAME:
            raise NamesError(f"A class name has at most {LONGEST_NAME} characters; “{name[:LONGEST_NAME]}…” is longer.")
        if not name.isprintable():
            raise NamesError(f"A class name holds a character that cannot be shown: {ascii(name)}. Write it anew.")
        if not name[0].isalnum():  # a spreadsheet would take = or + for a formula
            raise NamesError(f"A class name begins with a letter or a digit; “{name}” does not.")
    if len({name.casefold() for name in names}) < len(names):
        raise NamesError("Two classes have the same name.")
    return names
