"""Results in files that other tools open: palette PNG, OME-TIFF, QuPath's GeoJSON, embeddings."""
