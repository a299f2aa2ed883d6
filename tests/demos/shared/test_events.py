"""What handlers answer by name reaches the components of those names, and no other."""

from __future__ import annotations

import asyncio

import pytest

gr = pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

from demos.shared.events import answer, by_name  # noqa: E402


def reply(handler) -> list:
    """What the server sends of the outputs "first" and "second"."""
    with gr.Blocks(analytics_enabled=False) as page:
        outputs = {"first": gr.Textbox(), "second": gr.Textbox()}
        answer(page.load, handler, None, outputs)
    (function,) = page.fns.values()
    return asyncio.run(page.process_api(function, []))["data"]


STAYS = gr.skip()


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({"second": "b", "first": "a"}, ["a", "b"]),
        ({"second": "b"}, [STAYS, "b"]),
        ({"first": gr.skip()}, [STAYS, STAYS]),
        ({"first": ""}, ["", STAYS]),
        ({}, [STAYS, STAYS]),
    ],
)
def test_what_is_named_changes_and_the_rest_stays(said, sent):
    assert reply(lambda: said) == sent


def test_an_answer_to_nothing_is_a_mistake():
    with pytest.raises(KeyError, match="third"):
        reply(lambda: {"third": "c"})


def test_a_handler_that_speaks_bit_by_bit_still_does():
    def handler():
        yield {"first": 1}
        yield {}

    assert list(by_name(handler, {"first": (box := gr.Textbox(render=False))})()) == [{box: 1}, gr.skip()]


def test_gradio_still_sees_what_a_handler_asks_for():
    def handler(event: gr.SelectData, number, request: gr.Request):
        return {}

    given, _, event, _ = gr.helpers.special_args(
        by_name(handler, {}), [7], None, gr.SelectData(None, {"index": 3, "value": "a"})
    )
    assert event == 0
    assert given[1:] == [7, None]
    assert given[0].index == 3
