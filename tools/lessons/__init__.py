"""What runs the lessons and holds their numbers to account: `python -m tools.lessons`.

    parameters.py  what a lesson's `parameters` cell declares, and what a parameter file may set
    runner.py      papermill, a few lessons at a time, with progress bars
    guard.py       what ends a kernel, with all it started, once the runner is gone
    stopping.py    the signals that stop a run
    report.py      metrics.json and index.html
    runs.py        an earlier run, read again
    regression.py  a run's numbers beside those of notebooks/expected.json, and proposals for it
    findings.py    what that found: a table for people, JUnit XML for CI
    claims.py      what the papers say, judged by what lessons record
    evidence.py    the committed numbers that the judgement rests on
    ledger.py      both, and README's block, kept together
    claims_report.py, claims_page.py, claims_picture.py    the verdicts in words, in index.html, as a forest plot
    stamping.py    executed outputs that are committed: tidied, stamped, held fresh
"""
