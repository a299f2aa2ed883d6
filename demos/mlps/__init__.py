"""Tag patches: multi-layer pseudo-supervision (MLPS)."""
