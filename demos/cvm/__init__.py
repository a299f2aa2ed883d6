"""Click points: contrast-based variational model (CVM)."""
