"""The ideas of the best teams, one per module, and how the organisers collected the tags."""
