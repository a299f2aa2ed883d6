"""Click a few points inside a tissue and a few outside: the page outlines it, by CVM without training.

    python -m demos.cvm [--host 127.0.0.1] [--port 7861]

Zhang et al., "Weakly supervised segmentation with point annotations for histopathology images via contrast-based
variational model", CVPR 2023; ``histolab_lite.methods.cvm``.
"""

from __future__ import annotations

from functools import partial

import gradio as gr

from demos.cvm import views
from demos.cvm.handlers import LONGEST_NAME, TISSUE_NAMES, Handlers, choices
from demos.cvm.outline import DEFAULTS
from demos.cvm.samples import samples
from demos.cvm.session import Session
from demos.serving import Host, Port, is_loopback, serve
from demos.shared.events import ONE_BY_ONE, QUIET, SLOWLY, answer, save_by
from demos.shared.style import NO_DEVICE, blocks
from demos.shared.uploads import SUFFIXES
from demos.shared.warming import soon

MARGIN, OPACITY = 0.1, 0.5
# Browsers keep a visitor's work under this key, the page's former name, so it must not change. It is not a secret.
BROWSER_KEY = "histolab-lite/click-points"

HEADING = """<h1>Click points, get an outline</h1>
<p>Click a few points <b>inside</b> a tissue, then a few <b>outside</b> it. The page draws the outline.</p>"""
WHAT_IS_THIS = """
**Left**: the image with your points (● inside, ✕ outside) and the outline. Correct the outline by clicking: a point
inside where tissue is missing, a point outside where there is too much. Three points on each side are a good start.

**Contrast** shows for every place how much more it resembles your points inside than those outside. The network that
compares them was not trained on your image, nor on any outline.

**Segmentation** is the result: a region with a short border that follows the contrast. Hatched places are unsure,
because they resemble both sides about equally. Click there first.

**Keep in mind.** The page finds tissue that *looks like* your points. It cannot separate tumour from normal epithelium
if they look alike. Shares are of the tissue, without empty glass; areas are of all that is inside the outline.

The method: Zhang et al., *Weakly supervised segmentation with point annotations for histopathology images via
contrast-based variational model*, CVPR 2023.
"""
PRIVACY = (
    "The server keeps your image in its memory while your page is open, and does not store it. This browser keeps your "
    "points: they are back after a refresh. Your own image must be uploaded again."
)


def build(public: bool = False, nav: str = "") -> gr.Blocks:
    """The page. public: see ``cvm.samples``. nav: links to other pages, as HTML."""
    app = Handlers(samples(public))
    soon(app.warm)
    with blocks("Click points, get an outline") as page:
        session = gr.State(Session(), time_to_live=24 * 3600)
        awaited, arrived = gr.State(""), gr.State(None)
        memory = gr.BrowserState(None, storage_key=BROWSER_KEY, secret=BROWSER_KEY)
        tissue = gr.HTML(apply_default_css=False)

        gr.HTML(f'{nav}<div class="heading">{HEADING}</div>', apply_default_css=False)
        problem = gr.HTML(elem_id="problem", apply_default_css=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=320):
                with gr.Row(equal_height=True):
                    choice = gr.Radio(
                        choices(1, *TISSUE_NAMES),
                        value=1,
                        label="The next click is",
                        elem_id="choice",
                        scale=3,
                        min_width=300,
                    )
                    undo = gr.Button("Undo", elem_id="undo", min_width=80)
                    clear = gr.Button("Clear", elem_id="clear", min_width=80)
                main = gr.HTML(elem_id="main", apply_default_css=False, js_on_load=views.ON_CLICK)
                caption = gr.HTML(elem_id="caption", apply_default_css=False)
            with gr.Column(scale=1, min_width=320):
                with gr.Row(equal_height=True):
                    offered = [(image.title, key) for key, image in app.offered.items()]
                    sample = gr.Dropdown(offered, value=None, label="Image", elem_id="sample", scale=3, min_width=200)
                    upload = gr.UploadButton("Upload", file_types=list(SUFFIXES), elem_id="upload", min_width=120)
                with gr.Row():
                    contrast = gr.HTML(
                        elem_id="contrast", apply_default_css=False, js_on_load=views.ON_CLICK, min_width=150
                    )
                    segmentation = gr.HTML(
                        elem_id="segmentation", apply_default_css=False, js_on_load=views.ON_CLICK, min_width=150
                    )
                numbers = gr.HTML(elem_id="numbers", apply_default_css=False)
                with gr.Row():
                    files = {
                        "qupath": gr.Button("Outlines for QuPath", elem_id="save-qupath", variant="primary", size="sm"),
                        "mask": gr.Button("Mask (PNG)", elem_id="save-mask", size="sm"),
                        "figure": gr.Button("Image with outline", elem_id="save-figure", size="sm"),
                    }
                with gr.Accordion("What am I looking at?", open=False, elem_id="what"):
                    gr.Markdown(WHAT_IS_THIS)
                with gr.Accordion("Adjust", open=False, elem_id="adjust"):
                    opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity of the colours")
                    margin = gr.Slider(0, 0.5, MARGIN, step=0.05, label="Margin: higher marks more places as unsure")
                    eta = gr.Slider(
                        0,
                        1,
                        DEFAULTS["eta"],
                        step=0.05,
                        label="η: how much the points outside take away",
                        elem_id="eta",
                    )
                    lam = gr.Slider(
                        1, 50, DEFAULTS["lam"], step=1, label="λ: low for smooth outlines, high for every detail"
                    )
                with gr.Accordion("Add a point by its coordinates", open=False, elem_id="coordinates"), gr.Row():
                    x = gr.Number(label="x, pixels from the left", precision=0, elem_id="x", min_width=100)
                    y = gr.Number(label="y, pixels from the top", precision=0, elem_id="y", min_width=100)
                    add = gr.Button("Add point", elem_id="add", min_width=100)
                with gr.Accordion("Scale, and more than one tissue", open=False, elem_id="more"):
                    mpp = gr.Number(label="µm per pixel, for areas and the scale bar", elem_id="mpp")
                    count = gr.Radio([1, 2, 3], value=1, label="Number of tissues", elem_id="count")
                    names = [
                        gr.Textbox(
                            name,
                            label=f"Name of {views.label(i, f'tissue {i}')}",
                            max_length=LONGEST_NAME,
                            visible=i == 1,
                        )
                        for i, name in enumerate(TISSUE_NAMES, 1)
                    ]
        gr.HTML(f'<p class="small" id="fine-print">{PRIVACY} {NO_DEVICE}</p>')

        settings = [eta, lam, margin, choice, *names]
        drawn = {
            "awaited": awaited,
            "main": main,
            "contrast": contrast,
            "segmentation": segmentation,
            "numbers": numbers,
        }
        edited = {"session": session, "memory": memory, "problem": problem, **drawn}
        shown = {"tissue": tissue, "caption": caption, "mpp": mpp, **edited}
        offer = {"choice": choice, **{f"name {number}": name for number, name in enumerate(names, 1)}}
        each, last = ({"trigger_mode": mode, **ONE_BY_ONE} for mode in ("multiple", "always_last"))

        answer(page.load, app.restore, [memory, *settings], {"sample": sample, "count": count, **shown}, **ONE_BY_ONE)
        answer(sample.input, app.pick, [sample, session, *settings], shown, **ONE_BY_ONE)
        read = answer(upload.upload, app.read, upload, {"arrived": arrived, "problem": problem}, **SLOWLY)
        answer(read.then, app.show, [arrived, session, *settings], shown, **ONE_BY_ONE)
        for view in (main, contrast, segmentation):
            answer(view.select, app.click, [session, *settings], edited, **each)
        for button, handler in ((undo, app.undo), (clear, app.clear)):
            answer(button.click, handler, [session, *settings], edited, **each)
        added = partial(gr.on, [add.click, x.submit, y.submit])
        answer(added, app.add, [session, x, y, *settings], edited, **ONE_BY_ONE)
        entered = partial(gr.on, [mpp.submit, mpp.blur])
        answer(entered, app.scale, [session, mpp, *settings], edited, **ONE_BY_ONE)
        looked = awaited.change(app.look, [awaited, session], None, **SLOWLY)
        answer(looked.then, app.refresh, [awaited, session, *settings], drawn, **ONE_BY_ONE)
        for control in (eta, lam, margin):
            answer(control.change, app.draw, [session, *settings], drawn, **last)
        answer(choice.change, app.switch, [session, *settings], drawn, **last)
        named = [event for name in names for event in (name.submit, name.blur)]
        answer(partial(gr.on, named), app.draw, [session, *settings], drawn, **ONE_BY_ONE)
        answer(partial(gr.on, [count.change, *named]), app.offer, [count, *names], offer, **QUIET)
        opacity.change(
            None, opacity, None, js="(value) => document.documentElement.style.setProperty('--overlay', value)"
        )
        save_by(files, app.export, [session, opacity, *settings], problem)
    return page


def main(host: Host = "127.0.0.1", port: Port = None) -> None:
    """Serve the page until Ctrl-C."""
    serve(lambda: {"cvm": build(public=not is_loopback(host))}, host, port)
