"""The papers' peers that no lesson and no demo calls: ABMIL and CLAM, HistoSegNet, SC-CAM."""
