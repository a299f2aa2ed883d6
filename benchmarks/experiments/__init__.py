"""Accuracy on phantom and real tissue: one question per file, each a command of its own."""
