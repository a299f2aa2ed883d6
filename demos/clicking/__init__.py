"""The parts of ``click_points``."""
