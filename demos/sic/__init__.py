"""Drop seeds: seeded iterative clustering (SIC)."""
