"""Name two dozen clusters of patches, and every place of a tile gets a class: Proto2Seg without outlines.

    python -m demos.proto2seg [--host 127.0.0.1] [--port 7862]

Pan et al., "Human-machine interactive tissue prototype learning for label-efficient histopathology image
segmentation", IPMI 2023, Sect. 3.2, 3.3 and Table 2; ``histolab_lite.methods.proto2seg``.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from demos.proto2seg.handlers import Handlers
from demos.proto2seg.query import LARGEST_SIDE
from demos.proto2seg.samples import MPP, Samples, load
from demos.proto2seg.session import GAMMA, LARGEST_GAMMA, Session
from demos.serving import Host, Port, serve
from demos.shared.events import ONE_BY_ONE, SLOWLY, answer, save_by
from demos.shared.panel import MESSAGES, PANEL, script
from demos.shared.style import NO_DEVICE, blocks
from demos.shared.uploads import SUFFIXES
from demos.shared.warming import soon

SCRIPT = Path(__file__).with_name("page.js")
BROWSER_KEY = "histolab-lite/label-clusters"  # no secret: see ``cvm.page``

HEADING = """<h1>Name clusters, get masks</h1>
<p>The computer has grouped patches that look alike into clusters. Name each cluster; the masks appear at once.</p>"""
KEYS = """<label id="keys"><input type="checkbox" checked>
<span>Keys: <kbd>1</kbd>, <kbd>2</kbd>, … name the cluster, <kbd>0</kbd> or <kbd>M</kbd> drops it as mixed,
<kbd>Space</kbd> or <kbd>→</kbd> next, <kbd>←</kbd> back, <kbd>Backspace</kbd> undo</span></label>"""
WHAT_IS_THIS = """
**Clusters.** A network that was trained without labels describes each patch by 256 numbers. k-means puts 1728 patches
of drawn tissue into 24 clusters of similar numbers. You see the ten patches nearest to the centre of a cluster. If one
tissue fills more than about 80 % of what you see, give the cluster its name; otherwise drop it as mixed. The same name
again removes it.

**The dictionary** holds the centres of the clusters that you named, the *prototypes*, each with its class. It does not
hold the clusters that you dropped or did not name.

**DQ**, direct query: every place of the tile gets the class of the prototype most similar to it.

**CQ**, cluster-then-query: the places of the tile are first put into groups, and each group gets one class, so that a
single odd place follows its group. There are γ groups per class that DQ finds.

**Keep in mind.** Only named classes can appear: if you name one class, every place has that class. The tiles were not
among the clustered patches. Masks have a grid of 16 µm; the paper trains a second network on them, as lesson 04 does.
Mean Dice is the mean over all classes in the mask or the truth.

The method: Pan, Yan, Chen et al., *Human-machine interactive tissue prototype learning for label-efficient
histopathology image segmentation*, IPMI 2023. Lessons 02 and 03 derive it.
"""
PRIVACY = (
    "This browser keeps your names: they are back after a refresh, and the server does not store them. The server "
    "keeps your own tile in its memory while the page is open; after a refresh it must be uploaded again."
)


def build(samples: Samples | None = None, nav: str = "") -> gr.Blocks:
    """The page. samples: by default those of the bundle. nav: links to other pages."""
    app = Handlers(samples or load())
    soon(app.warm)
    with blocks("Name clusters, get masks") as page:
        session = gr.State(Session(), time_to_live=24 * 3600)
        arrived = gr.State(None)
        memory = gr.BrowserState(None, storage_key=BROWSER_KEY, secret=BROWSER_KEY)
        dots, images = gr.HTML(apply_default_css=False), gr.HTML(apply_default_css=False)

        gr.HTML(f'{nav}<div class="heading">{HEADING}</div>', apply_default_css=False)
        problem = gr.HTML(elem_id="problem", apply_default_css=False)
        gallery = gr.HTML(elem_id="gallery", apply_default_css=False)
        panel = gr.HTML(elem_id="panel", apply_default_css=False, js_on_load=script(MESSAGES, PANEL, SCRIPT))
        gr.HTML(KEYS, apply_default_css=False)
        with gr.Row(equal_height=False, elem_id="bench"):
            with gr.Column(scale=3, min_width=260, elem_id="aside"):
                plane = gr.HTML(elem_id="plane", apply_default_css=False)
                stopwatch = gr.HTML(elem_id="stopwatch", apply_default_css=False)
            with gr.Column(scale=10, min_width=320, elem_id="masks"):
                with gr.Row(equal_height=True):
                    choice = gr.Radio(
                        [(tile.title, key) for key, tile in app.samples.tiles.items()],
                        value=app.first.key,
                        label="Tile, not among the clusters",
                        elem_id="tile",
                        min_width=300,
                    )
                    gamma = gr.Slider(
                        1,
                        LARGEST_GAMMA,
                        GAMMA,
                        step=1,
                        label="γ: groups per class in CQ",
                        elem_id="gamma",
                        min_width=240,
                    )
                result = gr.HTML(elem_id="result", apply_default_css=False)
        with gr.Row(equal_height=True):
            keep = gr.Button("Save dictionary", elem_id="save-dictionary", variant="primary", min_width=150)
            mask = gr.Button("Save CQ mask (PNG)", elem_id="save-mask", min_width=150)
            bring = gr.UploadButton("Load a dictionary", file_types=[".safetensors"], elem_id="bring", min_width=150)
            own_names = gr.Button("Back to my names", elem_id="own-names", visible=False, min_width=150)
        with gr.Accordion("What am I looking at?", open=False, elem_id="what"):
            gr.Markdown(WHAT_IS_THIS)
        with gr.Accordion("Your own tile", open=False, elem_id="own"):
            gr.Markdown(
                f"Query an H&E image of your own. It is resized to {MPP:g} µm per pixel; of a large image the middle "
                f"{LARGEST_SIDE} pixels are used. This page's prototypes are of drawn tissue: for real tissue, load a "
                "dictionary of your own."
            )
            with gr.Row(equal_height=True):
                mpp = gr.Textbox(label="µm per pixel, if the file does not state it", elem_id="mpp", min_width=200)
                upload = gr.UploadButton("Upload a tile", file_types=list(SUFFIXES), elem_id="upload", min_width=150)
        with gr.Accordion("Start over", open=False, elem_id="again"):
            start_over = gr.Button("Forget all names and times", elem_id="start-over")
        gr.HTML(f'<p class="small" id="fine-print">{PRIVACY} {NO_DEVICE}</p>')

        kept = {"session": session, "memory": memory}
        drawn = {"panel": panel, "plane": plane, "stopwatch": stopwatch, "result": result, "own_names": own_names}
        edited = {**kept, "problem": problem, "gallery": gallery, **drawn}
        shown = {**kept, "choice": choice, "images": images, "result": result}
        waited_for = {**SLOWLY, "show_progress": "minimal"}

        answer(page.load, app.restore, memory, {"dots": dots, "gamma": gamma, **shown, **edited}, **ONE_BY_ONE)
        answer(panel.select, app.act, session, edited, trigger_mode="multiple", **ONE_BY_ONE)
        answer(choice.input, app.pick, [choice, session], shown, **ONE_BY_ONE)
        regrouped = {**kept, "result": result}
        answer(gamma.change, app.regroup, [gamma, session], regrouped, trigger_mode="always_last", **ONE_BY_ONE)
        answer(bring.upload, app.bring, [bring, session], edited, **ONE_BY_ONE)
        answer(own_names.click, app.own_names, session, edited, **ONE_BY_ONE)
        answer(start_over.click, app.start_over, session, edited, **ONE_BY_ONE)
        read = answer(upload.upload, app.read, [upload, mpp], {"arrived": arrived, "problem": problem}, **waited_for)
        answer(read.then, app.show, [arrived, session], shown, **ONE_BY_ONE)
        save_by({"dictionary": keep, "mask": mask}, app.save, [session], problem)
    return page


def main(host: Host = "127.0.0.1", port: Port = None) -> None:
    """Serve the page until Ctrl-C."""
    serve(lambda: {"proto2seg": build()}, host, port)
