"""Results out, in files that other people's tools open: palette PNG, OME-TIFF, QuPath's GeoJSON, embeddings."""
