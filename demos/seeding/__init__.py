"""The parts of ``seed_slide``."""
