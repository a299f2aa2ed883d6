"""The parts of the page ``mlps``: the patch in view, its classes to tag, and the progress."""

from __future__ import annotations

from html import escape

from demos.mlps.log import Log
from demos.mlps.patch_sets import PatchSet
from demos.mlps.session import Session
from demos.shared.markup import as_uri, scale_bar


def patch_view(session: Session) -> str:
    """The patch in view, with its scale."""
    patches = session.patches
    if patches is None:
        return ""
    size = patches.header.size
    unknown = "" if patches.mpp else "; its scale is not known"
    label = f"Patch {session.at + 1} of {len(patches)} of {patches.header.title}{unknown}"
    return (
        f'<div class="view patch"><svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(label)}" '
        f'data-patch="{session.at}"><image href="{as_uri(patches.jpegs[session.at], "image/jpeg")}" '
        f'width="{size}" height="{size}"/>{scale_bar((size, size), patches.mpp)}</svg></div>'
    )


def panel(session: Session) -> str:
    """The classes with ✓ and ✗, the buttons for undo and next, the progress, and a button per patch."""
    if session.patches is None:
        return ""
    log, at = session.log, session.at
    rows = "".join(_row(log, at, index, name) for index, name in enumerate(log.header.classes))
    first = not log.records and at == 0
    return (
        f'<div data-serial="{session.serial}" data-set="{escape(log.header.key)}" data-at="{at}" data-patch="{at}" '
        f'data-say="{escape(_said(log, at))}">'
        f'<div class="tags" role="group" aria-label="What does patch {at + 1} show?">{rows}</div>'
        '<div class="steps">'
        f'<button type="button" data-do="undo" data-id="undo" aria-disabled="{str(first).lower()}" '
        'aria-keyshortcuts="Backspace">Undo <kbd>Backspace</kbd></button>'
        '<button type="button" class="next-patch" data-do="next" data-id="next" aria-keyshortcuts="Space">'
        "Next patch <kbd>Space</kbd></button></div>"
        f"{_progress(log, at)}{_places(log, at)}</div>"
    )


def _row(log: Log, at: int, index: int, name: str) -> str:
    value = log.value(at, name)
    state = {True: "there", False: "absent", None: "absent" if at in log.done else "open"}[value]
    buttons = "".join(
        f'<button type="button" data-do="set" data-index="{index}" data-value="{str(there).lower()}" '
        f'data-id="{index}-{str(there).lower()}" aria-pressed="{str(value is there).lower()}" '
        f'aria-label="{escape(name)} is {"" if there else "not "}there">{mark}</button>'
        for there, mark in ((True, "✓"), (False, "✗"))
    )
    return (
        f'<div class="tag" data-class="{escape(name)}" data-state="{state}"><kbd>{index + 1}</kbd>{buttons}'
        f'<span class="name">{escape(name)}</span></div>'
    )


def _progress(log: Log, at: int) -> str:
    done, number, pace = len(log.done), log.header.patches, log.median_seconds
    timed = f" · median <b>{pace:.1f} s</b> per patch" if pace is not None else ""
    finished = " · all done" if done == number else ""
    return (
        f'<p class="progress" data-done="{done}">Patch <b>{at + 1}</b> of {number} · '
        f"{done} done{finished}{timed}</p>"
        f'<div class="bar" role="progressbar" aria-label="Patches done" aria-valuemin="0" aria-valuemax="{number}" '
        f'aria-valuenow="{done}"><span style="width:{done / number:.2%}"></span></div>'
    )


def _places(log: Log, at: int) -> str:
    done = set(log.done)
    buttons = "".join(
        f'<button type="button" data-do="go" data-index="{patch}" data-id="go-{patch}" '
        f'class="{"done" if patch in done else ""}" {"aria-current=true" if patch == at else ""} '
        f'aria-label="Patch {patch + 1}{", done" if patch in done else ""}">{patch + 1}</button>'
        for patch in range(log.header.patches)
    )
    return f'<div class="places" role="group" aria-label="Go to a patch">{buttons}</div>'


def _said(log: Log, at: int) -> str:
    """The text that a screen reader reads after every change."""
    tagged = ", ".join(log.tagged(at)) or "none"
    crossed = ", ".join(name for name in log.header.classes if log.value(at, name) is False)
    done = " This patch is done." if at in log.done else ""
    if len(log.done) == log.header.patches:
        done = " All patches are done."
    absent = f" Not there: {crossed}." if crossed else ""
    return f"Patch {at + 1} of {log.header.patches}. There: {tagged}.{absent}{done}"


def caption(patches: PatchSet) -> str:
    size, mpp = patches.header.size, patches.mpp
    side = f"{size * mpp:.0f} µm per side, {mpp:g} µm per pixel" if mpp else f"{size} pixels per side, scale not known"
    drawn = " Drawn by a program to look like H&amp;E; not a person's tissue." if patches.truth is not None else ""
    return f'<p class="small">{escape(patches.header.title)}, {side}.{drawn}</p>'
