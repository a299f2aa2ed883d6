"""``kernels``: what each operation costs, beside what people use today; ``python -m benchmarks`` runs them.

``experiments``: how well the methods segment. ``demos``: how long visitors of the demos wait.
"""
