"""What the server sends to the page ``sic``: the slide, once, and the seeds with their result, after each change."""

from __future__ import annotations

import base64
import json
from html import escape
from typing import Any

import numpy as np

from demos.shared.colours import css_colour
from demos.sic.results import Answer
from demos.sic.session import MOST_CLASSES, Session
from demos.sic.slides import Progress, SeedSlide

#: The colours of Okabe and Ito that show on stained tissue; each class also has a number and a pattern.
PALETTE = ((213, 94, 0), (0, 114, 178), (0, 158, 115), (240, 228, 66), (86, 180, 233), (0, 0, 0))
assert len(PALETTE) == MOST_CLASSES

RELOAD = '<div data-json="{}" data-reload=""></div>'  # makes the page reload itself; the browser keeps the seeds

BENCH = """<div class="bench">
<div id="seed-stage" tabindex="0" role="application" aria-label="The slide" aria-describedby="seed-keys">
  <div class="canvas"></div>
  <div class="zooms" role="group" aria-label="Zoom">
    <button type="button" data-do="in" aria-label="Zoom in">+</button>
    <button type="button" data-do="out" aria-label="Zoom out">−</button>
    <button type="button" data-do="whole">Whole slide</button>
  </div>
  <div class="scale" aria-hidden="true"><span></span></div>
</div>
<div class="sowing">
  <fieldset class="classes"><legend>A click drops a seed of</legend><div></div></fieldset>
  <div class="buttons">
    <button type="button" data-do="undo" aria-keyshortcuts="Backspace">Undo</button>
    <button type="button" data-do="clear">Clear all</button>
    <button type="button" data-do="next" class="main" aria-keyshortcuts="N">Where next?</button>
  </div>
  <p class="result"></p>
</div>
<div class="shows">
  <fieldset><legend>Over the slide</legend>
    <label><input type="radio" name="seed-show" value="classes" checked> Classes</label>
    <label><input type="radio" name="seed-show" value="confidence"> Confidence</label>
    <label><input type="radio" name="seed-show" value="colours"> Embedding colours</label>
    <label><input type="radio" name="seed-show" value="none"> Nothing</label>
  </fieldset>
  <label class="opacity">Opacity <input type="range" id="seed-opacity" min="0" max="100" value="50"></label>
  <div class="ramp-of" hidden><span>unsure</span><span class="ramp"></span><span>sure</span></div>
</div>
<div class="growing">
  <div class="steps-of" hidden>
    <label for="seed-step">Iteration <output></output></label>
    <input type="range" id="seed-step" min="0" max="0" value="0">
    <p class="small"></p>
  </div>
  <label class="hold"><input type="checkbox" id="seed-hold"> Hold clusters at their seeds</label>
  <canvas id="seed-map" width="10" height="10" role="img" aria-label="Map of patches" aria-describedby="seed-map-text">
  </canvas>
  <p class="small" id="seed-map-text">Every dot is a patch; patches with dots near each other look alike to the network
  (UMAP). Point at a dot to find its patch on the slide; click to drop a seed.</p>
</div>
<p id="seed-keys" class="small">On the slide: <kbd>←</kbd> <kbd>↑</kbd> <kbd>↓</kbd> <kbd>→</kbd> go to the next patch,
<kbd>1</kbd>, <kbd>2</kbd>, … drop or remove a seed, <kbd>Backspace</kbd> undo, <kbd>N</kbd> where next,
<kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom.</p>
</div>"""


def slide_data(slide: SeedSlide, layout: dict[str, Any]) -> str:
    """The positions of the patches on the slide and on the map, and where the viewer finds the tiles."""
    (x, y), (rows, columns) = slide.origin, slide.cells.max(0) + 1
    content = {
        "key": slide.key,
        "layout": layout,
        "mpp": slide.table.slide_mpp,
        "origin": [x, y],
        "pitch": slide.pitch,
        "grid": [int(rows), int(columns)],
        "cells": _packed(slide.cells, np.uint16),
        "map": _packed(slide.umap.clip(0, 1) * 65535, np.uint16),
        "colours": _packed(slide.colours, np.uint8),
    }
    return _json(content)


def state(session: Session, answer: Answer) -> str:
    work = session.work
    counts = np.bincount(work.labels[work.labels >= 0], minlength=len(work.classes)).tolist()
    content = {
        "key": session.slide.key if session.slide else "",
        "serial": session.serial,
        "classes": [
            {"name": name, "colour": css_colour(PALETTE[index]), "seeds": counts[index]}
            for index, name in enumerate(work.classes)
        ],
        "seeds": [[patch, name] for patch, name in work.seeds.items()],
        "undo": bool(work.marks),
        "held": work.held,
        "next": answer.suggestion,
        "answer": answer.answer,
        "lost": answer.lost,
        "steps": [
            {
                "labels": _packed(iteration.labels, np.uint8),
                "confidence": _packed(iteration.confidence * 255, np.uint8),
                "text": iteration.text,
                "kept": iteration.kept,
            }
            for iteration in answer.iterations
        ],
        "say": _said(session, answer),
    }
    return _json(content)


def _said(session: Session, answer: Answer) -> str:
    work = session.work
    if not work.seeds:
        return "Click a patch that surely shows the first class. Then choose the next class and click again."
    if answer.best is None:
        only = work.classes[next(iter(work.seeds.values()))]
        return f"All seeds are {only} so far. Drop a seed of another class."
    shares = np.bincount(answer.best.labels, minlength=len(work.classes)) / work.patches
    seeded = set(work.seeds.values())
    found = ", ".join(f"{name} {shares[index]:.0%}" for index, name in enumerate(work.classes) if index in seeded)
    lost = len(answer.lost)
    if lost:
        one = lost == 1
        missed = f" {lost} seed{'' if one else 's'} ended in another class, marked with “!”."
    else:
        missed = ""
    return f"Of {work.patches:,} patches: {found}.{missed}"


def waiting(progress: Progress) -> str:
    return (
        f'<div class="seed-waiting" role="status"><label>{escape(progress.text)} '
        f'<progress value="{progress.share:.2f}" max="1"></progress></label></div>'
    )


def caption(slide: SeedSlide) -> str:
    width, height = slide.size
    mpp = slide.table.slide_mpp or 0.0
    side = slide.table.patch_size * slide.table.mpp
    text = (
        f"{slide.title}: {width:,} × {height:,} pixels, {width * mpp / 1000:.1f} × {height * mpp / 1000:.1f} mm. "
        f"{len(slide):,} patches of {side:.0f} µm, one every {slide.pitch * mpp:.0f} µm. {slide.caption}"
    )
    return f'<p class="small">{escape(text)}</p>'


def _packed(array: np.ndarray, kind: type) -> str:
    return base64.b64encode(np.ascontiguousarray(np.rint(array).astype(kind)).tobytes()).decode()


def _json(content: dict[str, Any]) -> str:
    return f'<div data-json="{escape(json.dumps(content))}"></div>'
