"""Read tissue: slides, tiles and patches with their masks."""

#: The class id of pixels that are ignored.
IGNORE = 255
