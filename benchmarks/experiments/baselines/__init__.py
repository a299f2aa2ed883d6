"""The papers' baselines that only experiments call: ABMIL and CLAM, HistoSegNet, SC-CAM."""
