"""What each operation costs beside what people use today (``kernels``), how well methods do (``experiments``), and how
long visitors of the demos wait (``demos``). ``python -m benchmarks`` runs ``kernels``."""
