"""The named values of an answer reach the components of those names, and no others."""

import asyncio

import gradio as gr
import pytest

from demos.shared.events import answer, by_name

STAYS = gr.skip()


def reply(handler) -> list:
    """What the server sends of the outputs "first" and "second"."""
    with gr.Blocks(analytics_enabled=False) as page:
        outputs = {"first": gr.Textbox(), "second": gr.Textbox()}
        answer(page.load, handler, None, outputs)
    (function,) = page.fns.values()
    return asyncio.run(page.process_api(function, []))["data"]


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({"second": "b", "first": "a"}, ["a", "b"]),
        ({"second": "b"}, [STAYS, "b"]),
        ({"first": ""}, ["", STAYS]),
        ({}, [STAYS, STAYS]),
    ],
)
def test_what_is_named_changes_and_the_rest_stays(said, sent):
    assert reply(lambda: said) == sent


def test_an_answer_to_nothing_is_a_mistake_and_one_bit_by_bit_is_not():
    with pytest.raises(KeyError, match="third"):
        reply(lambda: {"third": "c"})

    def handler():
        yield {"first": 1}
        yield {}

    assert list(by_name(handler, {"first": (box := gr.Textbox(render=False))})()) == [{box: 1}, STAYS]


def test_gradio_still_sees_what_a_handler_asks_for():
    def handler(event: gr.SelectData, number, request: gr.Request):
        return {}

    select = gr.SelectData(None, {"index": 3, "value": "a"})
    (event, *rest), _, place, _ = gr.helpers.special_args(by_name(handler, {}), [7], None, select)
    assert (event.index, rest, place) == (3, [7, None], 0)
