"""Run the lessons and check the numbers that they record: `python -m tools.lessons`.

A number goes from `histolab_lite.recording.record` in a lesson to its verdict through these modules:

    parameters.py  the lessons, and what a parameter file may set in them
    running.py     papermill, a few lessons at a time, with progress bars
    kernels.py     the process of a lesson, and the signals that stop it; guard.py ends it with all that it started
    runs.py        the results of a run: gathered from the notebooks, kept in metrics.json
    comparing.py   one comparison, one interval; shown as a table for people and as JUnit XML for CI
    checking.py    a run's numbers beside those of notebooks/expected.json, and proposals for it
    claims.py      what the papers claim, judged by what the lessons record
    ledger.py      the committed evidence and docs/claims.md; forest.py draws it
    report.py      the page of a run
    stamping.py    committed outputs: tidied, stamped, kept fresh; tracing.py notes what a lesson reads
"""


class LessonsError(ValueError):
    """A lesson, its numbers or the request is wrong; the message says what to put right."""
