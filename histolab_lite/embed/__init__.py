"""Slides to embeddings: the slow half of seeded iterative clustering, run once and before anybody clicks.

    python -m histolab_lite.embed SLIDES… --out DIR

    Settings (settings)  ->  run_jobs (jobs): PatchStream reads ahead (reading), the encoder encodes, a file is written
                             run_on_cluster (cluster): the same on a Dask cluster, one task per slide

E. Chelebian et al., "Seeded iterative clustering for histology region identification", 2022, Sect. 2.1: patches of
256 x 256 pixels at 20x, half of each shared with the next.
"""
