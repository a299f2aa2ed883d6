"""What a page's events share: the queue they wait in, and files that they hand to the visitor.

A visitor's session is changed in the queue "edit" alone, one event at a time, so that no click is lost however fast
they come. What takes seconds runs in the queue "slow" and changes no session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from demos.shared.saving import SAVE_JS

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
ONE_BY_ONE = {"concurrency_id": "edit", "concurrency_limit": 1, **QUIET}
SLOWLY = {"concurrency_id": "slow", "concurrency_limit": 1, **QUIET}


def save_by(
    buttons: Mapping[str, gr.Button],
    save: Callable[..., tuple[str, Any]],
    inputs: Sequence[gr.components.Component],
    problem: gr.HTML,
) -> None:
    """Let buttons save files. buttons: by kind of file. save(kind, *inputs): (file from ``pack``, notice)."""
    packed = gr.Textbox(visible="hidden", elem_id="packed")
    for kind, button in buttons.items():
        packing = button.click(lambda *given, kind=kind: save(kind, *given), inputs, [packed, problem], **QUIET)
        packing.success(None, packed, None, js=SAVE_JS)
