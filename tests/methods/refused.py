"""Bad input and the errors that it gets."""

from collections.abc import Callable

import pytest


def refused(word: str, call: Callable, *arguments: object) -> None:
    """Each of the arguments, or a call without one, is refused with a sentence that holds the word."""
    for argument in arguments or [None]:
        with pytest.raises((ValueError, FileNotFoundError), match=word):
            call(argument) if arguments else call()
