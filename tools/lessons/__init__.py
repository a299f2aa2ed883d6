"""What runs the lessons and holds their numbers to account: `python -m tools.lessons`.

A number goes from `histolab_lite.recording.record` in a lesson to its verdict through these rooms:

    parameters.py  the lessons, and what a parameter file may set in them
    running.py     papermill, a few lessons at a time, with progress bars
    kernels.py     the process of a lesson, the signals that stop it; guard.py ends it with all it started
    runs.py        what came of a run: gathered from the notebooks, kept in metrics.json
    comparing.py   one comparison, one interval; told as a table for people and as JUnit XML for CI
    checking.py    a run's numbers beside those of notebooks/expected.json, and proposals for it
    claims.py      what the papers say, judged by what lessons record
    ledger.py      the committed evidence and docs/claims.md; forest.py draws it
    report.py      index.html of a run
    stamping.py    committed outputs: tidied, stamped, held fresh; tracing.py hears what a lesson reads
"""


class LessonsError(ValueError):
    """Something about a lesson, its numbers or what was asked of them that must be put right first."""
