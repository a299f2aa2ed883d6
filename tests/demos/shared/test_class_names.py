"""Names of classes are split at commas, or refused in a sentence."""

import pytest

from demos.shared.class_names import NamesError, class_names


@pytest.mark.parametrize(
    ("names", "most", "said"),
    [
        ("", 9, "2 to 9"),
        ("one", 9, "2 to 9"),
        ("a, b, c", 2, "2 to 2"),
        ("a, A", 9, "same name"),
        ("a, =SUM(1)", 9, "begins with"),
        ("a, " + "b" * 31, 9, "at most 30"),
        ("a, b\u200bc", 9, "cannot be shown"),
    ],
)
def test_class_names(names, most, said):
    assert class_names(" tumour ,stroma,, dead   cells ") == ("tumour", "stroma", "dead cells")
    assert class_names("a," + "b" * 30, most=2) == ("a", "b" * 30)
    with pytest.raises(NamesError, match=said):
        class_names(names, most)
