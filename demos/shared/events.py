"""What the events of all pages share: answers by name, two queues, and files that a visitor saves.

Only the queue "edit" changes a visitor's session, one event at a time, so that no click is lost.
Work that takes seconds runs in the queue "slow" and changes no session.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, wraps
from typing import Any

import gradio as gr

from demos.shared.saving import SAVE_JS

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
ONE_BY_ONE = {"concurrency_id": "edit", "concurrency_limit": 1, **QUIET}
SLOWLY = {"concurrency_id": "slow", "concurrency_limit": 1, **QUIET}

#: A handler's answer: new values by name. What is not named stays as it is.
Answer = dict[str, Any]


def answer(
    event: Callable[..., Any],
    handler: Callable[..., Answer] | Callable[..., Iterator[Answer]],
    inputs: gr.components.Component | Sequence[gr.components.Component] | None,
    outputs: Mapping[str, gr.components.Component],
    **queue: Any,
) -> Any:
    """Let a handler answer an event. outputs: the components that it may change, by the names it uses in its answers.
    Returns what ``event`` returns, so that more can follow."""
    return event(by_name(handler, outputs), inputs, list(outputs.values()), **queue)


def by_name(
    handler: Callable[..., Any],
    outputs: Mapping[str, gr.components.Component],
) -> Callable[..., Any]:
    """The handler as Gradio calls it. KeyError for an answer with a name that is not among the outputs."""

    def placed(answer: Answer) -> dict:
        return {outputs[name]: value for name, value in answer.items()} or gr.skip()

    @wraps(handler)
    def once(*given: Any) -> dict:
        return placed(handler(*given))

    @wraps(handler)
    def bit_by_bit(*given: Any) -> Iterator[dict]:
        yield from map(placed, handler(*given))

    return bit_by_bit if inspect.isgeneratorfunction(handler) else once


def save_by(
    buttons: Mapping[str, gr.Button],
    save: Callable[..., Answer],
    inputs: Sequence[gr.components.Component],
    problem: gr.HTML,
) -> None:
    """Let buttons save files. buttons: by kind of file. save(kind, *inputs) answers with the file from ``pack`` as
    "packed", or with a sentence as "problem"."""
    packed = gr.Textbox(visible="hidden", elem_id="packed")
    for kind, button in buttons.items():
        packing = answer(button.click, partial(save, kind), inputs, {"packed": packed, "problem": problem}, **QUIET)
        packing.success(None, packed, None, js=SAVE_JS)
