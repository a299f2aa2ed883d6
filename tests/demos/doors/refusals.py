"""How the tests of the doors expect a request to be refused."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from demos.doors.refusal import Refusal


@contextmanager
def refusal(status: int, words: str | None = None) -> Iterator[None]:
    """Whatever is done here must be refused with this HTTP status, in a sentence with these words."""
    with pytest.raises(Refusal, match=words) as refused:
        yield
    assert refused.value.status == status
