"""Names of classes: read with their commas, or refused in a sentence."""

from __future__ import annotations

import pytest

from demos.shared.class_names import NamesError, class_names


def test_class_names():
    assert class_names(" tumour ,stroma,, dead   cells ") == ("tumour", "stroma", "dead cells")
    assert class_names("a, b", most=2) == ("a", "b")
    with pytest.raises(NamesError, match="2 to 2"):
        class_names("a, b, c", most=2)
    for text, message in [
        ("", "2 to 9"),
        ("one", "2 to 9"),
        (",".join("abcdefghij"), "2 to 9"),
        ("a, A", "same name"),
        ("a, =SUM(1)", "begins with"),
        ("a, " + "b" * 31, "at most 30"),
        ("a, b\u200bc", "at most 30"),
    ]:
        with pytest.raises(NamesError, match=message):
            class_names(text)
