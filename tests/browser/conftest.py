"""What the suites in a real browser share. Each of their tests carries the marker ``browser``."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium."""
    from tests.browser.browsing import chromium

    with chromium() as program:
        yield program


@pytest.fixture
def meet(request: pytest.FixtureRequest, browser: Any) -> Iterator[Callable[..., Any]]:
    """Call it for a new visitor, of the kind that the test's module defines, at its `address` if no other is given. No
    visitor's browser may complain, or ask another server for anything."""
    visitors = []

    def make(url: str | None = None, **options: Any) -> Any:
        url = url or request.getfixturevalue("address")
        visitors.append(request.module.Visitor(browser, url, **options))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []
    assert [url for visitor in visitors for url in visitor.elsewhere] == []
