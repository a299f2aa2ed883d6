"""The page on which a visitor drops a few seeds on a whole slide and clustering does the rest: SIC.

    python -m demos.sic [--host 127.0.0.1] [--port 7862]

Chelebian, Ciompi and Wählby, "Seeded iterative clustering for histology region identification", 2022;
``histolab_lite.methods.sic``. Tiles of slides are served beside the page, under /slides/: see ``tiles``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gradio as gr

from demos.serving import Host, Port, is_loopback, serve
from demos.shared.events import ONE_BY_ONE, SLOWLY, answer, save_by
from demos.shared.panel import MESSAGES, script
from demos.shared.style import NO_DEVICE, blocks
from demos.shared.uploads import LARGEST_SLIDE
from demos.sic.handlers import Handlers
from demos.sic.samples import PHANTOM
from demos.sic.session import Session
from demos.sic.slides import MOST_PATCHES
from demos.sic.tiles import LIFETIME, router
from demos.sic.turns import PLACES
from demos.sic.views import BENCH

__all__ = ["build", "main", "router"]

BROWSER_KEY = "histolab-lite/seed-slide"  # no secret: see ``cvm.page``
HERE = Path(__file__).parent
# Twice as many as there are places, so that more are refused at once and do not wait.
IN_TURNS = {**SLOWLY, "concurrency_limit": 2 * PLACES, "trigger_mode": "multiple"}
#: The page's program: the viewer, the map of patches, and the messages to the server.
BENCH_JS = script(MESSAGES, HERE / "viewer.js", HERE / "map.js", HERE / "page.js")

HEADING = """<h1>Drop seeds, sort a slide</h1>
<p>Click a few patches of each class. Clustering then gives every other patch one of these classes.</p>"""
WHAT_IS_THIS = f"""
**Patches.** The slide was cut into patches, and a network turned each patch into a vector, once. No network runs when
you click. *Seeded k-means* starts one cluster per class, at the mean of its seeds, and moves it until nothing changes.

**Iterations.** Your seeds show how well the clusters fit (F1). While that improves, the cluster of the target class is
divided again, by the seeds in it. The slider shows these iterations. With two classes, the target is the one named
first; with more, every class is a target.

**Seeds are a start**, in the paper: a patch that you clicked may end in another class. Its seed is then marked “!”.
*Hold clusters at their seeds* keeps each cluster halfway to the mean of its seeds, so that every click counts. This is
not in the paper. Neither are more than two classes, confidence, and *Where next?*, which shows the most typical patch
of the largest kind of tissue that has no seed yet.

**Confidence** is the lead of the most likely class over the second. **Embedding colours** need no seeds: patches that
look alike to the network have similar colours (UMAP in three dimensions). The map only gives an overview; UMAP distorts
distances.

**Your own slide** is covered by at most {MOST_PATCHES:,} patches of 64 µm; on a larger slide they lie further apart.

The method: Chelebian, Ciompi and Wählby, *Seeded iterative clustering for histology region identification*, 2022.
"""
FINE_PRINT = (
    "Your seeds are kept in this browser and come back after a reload; the server stores none. Your own slide is "
    "deleted when you open another one, or within an hour after you leave. The vectors of its patches stay in the "
    "server's memory for a while; they are used again only for the same file."
)


def build(public: bool = False, nav: str = "") -> gr.Blocks:
    """Build the page; serve it with ``router()``. public: see ``cvm.samples``. nav: links to other pages."""
    app = Handlers(public)
    with blocks("Drop seeds, sort a slide") as page:
        session = gr.State(Session(), time_to_live=LIFETIME, delete_callback=app.leave)
        arrived = gr.State(None, time_to_live=LIFETIME)
        memory = gr.BrowserState(None, storage_key=BROWSER_KEY, secret=BROWSER_KEY)

        gr.HTML(f'{nav}<div class="heading">{HEADING}</div>', apply_default_css=False)
        problem = gr.HTML(elem_id="seed-problem", apply_default_css=False)
        bench = gr.HTML(BENCH, elem_id="seed-bench", apply_default_css=False, js_on_load=BENCH_JS)
        data = gr.HTML(elem_id="seed-data", apply_default_css=False)
        state = gr.HTML(elem_id="seed-state", apply_default_css=False)
        caption = gr.HTML(elem_id="seed-caption", apply_default_css=False)
        with gr.Row(elem_id="seed-below", equal_height=False):
            with gr.Column(scale=1, min_width=300):
                sample = gr.Dropdown(app.choices, value=PHANTOM, label="Slide", elem_id="seed-sample", filterable=False)
                names = gr.Textbox(
                    label="Classes, 2 to 6, with commas between; the target class first", elem_id="seed-names"
                )
            with gr.Column(scale=1, min_width=300), gr.Accordion("Your own slide", open=False, elem_id="seed-own"):
                gr.Markdown(
                    f"A .svs, or a tiled, pyramidal .tif, of at most {LARGEST_SLIDE // 10**6} MB. Preparing it takes "
                    "about a minute, two the first time."
                )
                with gr.Row():
                    mpp = gr.Number(None, label="µm per pixel, if the file does not say", elem_id="seed-mpp")
                    upload = gr.UploadButton(
                        "Upload a slide", file_types=[".svs", ".tif", ".tiff"], elem_id="seed-upload", min_width=120
                    )
            with gr.Column(scale=1, min_width=300), gr.Accordion("Save", open=True, elem_id="seed-save"):
                with gr.Row():
                    geojson = gr.Button("QuPath (GeoJSON)", elem_id="seed-geojson", min_width=90)
                    h5ad = gr.Button("AnnData (.h5ad)", elem_id="seed-h5ad", min_width=90)
                    labels = gr.Button("Label image (TIFF)", elem_id="seed-labels", min_width=90)
        with gr.Accordion("What am I looking at?", open=False, elem_id="seed-what"):
            gr.Markdown(WHAT_IS_THIS)
        gr.HTML(f'<p class="small">{FINE_PRINT} {NO_DEVICE}</p>', apply_default_css=False)

        edited = {"session": session, "memory": memory, "problem": problem, "state": state}
        shown = {"sample": sample, "data": data, "caption": caption, "names": names, **edited}
        came = {"arrived": arrived, "problem": problem}

        answer(page.load, app.restore, memory, shown, **ONE_BY_ONE)
        answer(bench.select, app.act, session, edited, trigger_mode="multiple", **ONE_BY_ONE)
        named = partial(gr.on, [names.submit, names.blur])
        answer(named, app.rename, [names, session], edited, **ONE_BY_ONE)
        for ready in (
            answer(sample.input, app.choose, sample, came, **IN_TURNS),
            answer(upload.upload, app.read, [upload, mpp], came, **IN_TURNS),
        ):
            answer(ready.then, app.show, [arrived, session], shown, **ONE_BY_ONE)
        save_by({"geojson": geojson, "h5ad": h5ad, "labels": labels}, app.save, [session], problem)
    return page


def main(host: Host = "127.0.0.1", port: Port = None) -> None:
    """Serve the page until Ctrl-C."""
    serve(lambda: {"sic": build(public=not is_loopback(host))}, host, port, [router()], slides=["sic"])
