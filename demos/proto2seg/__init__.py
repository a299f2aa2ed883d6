"""Name clusters: prototypes of tissue (Proto2Seg)."""
