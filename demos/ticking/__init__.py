"""The parts of ``tag_patches``."""
