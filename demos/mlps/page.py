"""The page on which a visitor tags patches and sees the masks that come from the tags: MLPS.

    python -m demos.mlps [--host 127.0.0.1] [--port 7861] [--labels tags.jsonl]

Han, Lin, Mai et al., "Multi-layer pseudo-supervision for histopathology tissue semantic segmentation using patch-level
classification labels", Medical Image Analysis 2022; ``histolab_lite.methods.mlps``. Sect. V-D describes the tool.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import gradio as gr
import typer

from demos.mlps.handlers import Handlers
from demos.mlps.label_file import LabelFile
from demos.mlps.patch_sets import SIZES, PatchSet, sample_set
from demos.mlps.session import Session
from demos.serving import Host, Port, is_loopback, serve
from demos.shared.events import ONE_BY_ONE, SLOWLY, answer, save_by
from demos.shared.panel import MESSAGES, PANEL, script
from demos.shared.style import NO_DEVICE, blocks
from demos.shared.uploads import SUFFIXES
from demos.shared.warming import soon

SCRIPT = Path(__file__).with_name("page.js")
BROWSER_KEY = "histolab-lite/tag-patches"  # no secret: see ``cvm.page``
TO_RESULT = """() => {
  const title = document.querySelector('#result h2');
  title?.focus({preventScroll: true});
  title?.scrollIntoView();
}"""

HEADING = """<h1>Tag patches, get masks</h1>
<p>Tag which tissues each patch shows; draw nothing. <b>✓</b> it is there, <b>✗</b> it is not.</p>"""
KEYS = """<label id="keys"><input type="checkbox" checked>
<span>Keys: <kbd>1</kbd>, <kbd>2</kbd>, … tag a class, ✓ or ✗,
<kbd>Space</kbd> next patch, <kbd>Backspace</kbd> undo</span></label>"""
WHAT_IS_THIS = """
**Tags.** A class with ✓ is somewhere in the patch, however small; a class with ✗ is not. A class that you leave open
counts as not there when you press *Next patch*. *Undo* takes back one change at a time. The numbered buttons go to any
patch.

**Show me** works on the patches that you have finished. The *pseudo mask* gives every pixel to one of the tagged
tissues: the one with the strongest activation map of a classifier. A tissue that you did not tag cannot appear, so try
a wrong tag. Glass is found by its brightness. The *segmentation* comes from a second network, trained on pseudo masks.
It does not see your tags; a gate removes tissues that the classifier does not expect in the patch. The *truth* comes
from the program that drew the patches.

**The networks** were trained before, on other phantom patches and their tags. Your tags do not change them.

**Time** is counted while the page is in view. A pause of more than a minute counts as one minute.

The method: Han, Lin, Mai et al., *Multi-layer pseudo-supervision for histopathology tissue semantic segmentation using
patch-level classification labels*, Medical Image Analysis 2022.
"""
IN_BROWSER = (
    "Your tags are kept in this browser, in one tab at a time, and come back after a reload; the server stores none. "
    "Your own image stays in the server's memory while the page is open; after that, upload it again."
)
IN_FILE = (
    "Your tags are written to a file on the machine that runs this program, separate from those of other visitors, and "
    "come back after a reload. Your own image is not stored; after a reload, upload it again."
)


def build(sample: PatchSet, labels: LabelFile | None = None, nav: str = "") -> gr.Blocks:
    """Build the page. labels: the file of tags; without it each browser keeps its own. nav: links to other pages."""
    app = Handlers(sample, labels)
    soon(app.warm)
    with blocks("Tag patches, get masks") as page:
        session = gr.State(Session(), time_to_live=24 * 3600)
        arrived = gr.State(None)
        memory = gr.BrowserState(None, storage_key=BROWSER_KEY, secret=BROWSER_KEY)

        gr.HTML(f'{nav}<div class="heading">{HEADING}</div>', apply_default_css=False)
        problem = gr.HTML(elem_id="problem", apply_default_css=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=320):
                patch = gr.HTML(elem_id="patch", apply_default_css=False)
                caption = gr.HTML(elem_id="caption", apply_default_css=False)
            with gr.Column(scale=1, min_width=320):
                panel = gr.HTML(elem_id="panel", apply_default_css=False, js_on_load=script(MESSAGES, PANEL, SCRIPT))
                gr.HTML(KEYS, apply_default_css=False)
                with gr.Row():
                    show_me = gr.Button("Show me", elem_id="show-me", variant="primary", min_width=120)
                    table = gr.Button("Save as CSV", elem_id="save-table", min_width=120)
                with gr.Accordion("What am I looking at?", open=False, elem_id="what"):
                    gr.Markdown(WHAT_IS_THIS)
                with gr.Accordion("Your own image", open=False, elem_id="own"):
                    gr.Markdown("It is cut into at most 100 patches. “Show me” works for the phantom patches only.")
                    names = gr.Textbox(
                        "tumour, stroma, other", label="Classes, 2 to 9, with commas between", elem_id="names"
                    )
                    size = gr.Radio(list(SIZES), value=SIZES[-1], label="Pixels per patch", elem_id="size")
                    with gr.Row():
                        upload = gr.UploadButton(
                            "Upload an image", file_types=list(SUFFIXES), elem_id="upload", min_width=120
                        )
                        back = gr.Button("Back to phantom patches", elem_id="back", min_width=120)
                with gr.Accordion("Save, and go on later", open=False, elem_id="elsewhere"):
                    gr.Markdown("The log holds every tag and its time. Load it again on this page, on any machine.")
                    with gr.Row():
                        log = gr.Button("Save log (JSON lines)", elem_id="save-log", min_width=120)
                        bring = gr.UploadButton("Load a log", file_types=[".jsonl"], elem_id="bring", min_width=120)
                    start_over = gr.Button("Start over: delete all tags of these patches", elem_id="start-over")
        result = gr.HTML(elem_id="result", apply_default_css=False)
        gr.HTML(f'<p class="small" id="fine-print">{IN_BROWSER if labels is None else IN_FILE} {NO_DEVICE}</p>')

        edited = {"session": session, "memory": memory, "problem": problem, "patch": patch, "panel": panel}
        shown = {"show_me": show_me, "result": result, "caption": caption, **edited}
        all_of_it = {"names": names, "size": size, **shown}
        came, compared = {"arrived": arrived, "problem": problem}, {"result": result, "problem": problem}
        waited_for = {**SLOWLY, "show_progress": "minimal"}

        answer(page.load, app.restore, memory, all_of_it, **ONE_BY_ONE)
        answer(panel.select, app.act, session, edited, trigger_mode="multiple", **ONE_BY_ONE)
        read = answer(upload.upload, app.read, [upload, names, size], came, **SLOWLY)
        answer(read.then, app.show, [arrived, session], shown, **ONE_BY_ONE)
        answer(back.click, app.back, session, shown, **ONE_BY_ONE)
        answer(bring.upload, app.bring, [bring, session], all_of_it, **ONE_BY_ONE)
        answer(start_over.click, app.start_over, session, edited, **ONE_BY_ONE)
        answered = answer(show_me.click, app.show_me, session, compared, **waited_for)
        answered.success(None, None, None, js=TO_RESULT)
        save_by({"log": log, "table": table}, app.save, [session], problem)
    return page


def main(
    host: Host = "127.0.0.1",
    port: Port = None,
    labels: Annotated[
        Path | None, typer.Option(help="File to append tags to (.jsonl); without it each browser keeps its own.")
    ] = None,
) -> None:
    """Serve the page until Ctrl-C."""
    file = None
    if labels is not None:
        try:
            file = LabelFile(labels)
        except OSError as error:
            raise typer.BadParameter(f"{labels} cannot be written to ({error.strerror}).") from None
        for number in file.damaged:
            print(f"{labels.name}: line {number} is incomplete and was skipped.", flush=True)
        if not is_loopback(host):
            print(f"Everyone who can open this page adds tags to {labels.name}.", flush=True)
    serve(lambda: {"mlps": build(sample_set(), file)}, host, port)
