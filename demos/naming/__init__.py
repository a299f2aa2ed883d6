"""The parts of ``label_clusters``."""
