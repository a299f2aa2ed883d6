"""Many visitors on the demos at once: how long each waits."""
