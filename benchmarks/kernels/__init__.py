"""Timings beside peers. Each module defines ``cases()``, see ``benchmarks.harness``."""
