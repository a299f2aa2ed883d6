"""python -m demos.bundle: make the files of this folder again, some minutes."""

from demos import cluster_samples, phantoms, seed_samples
from demos.bundle import FOLDER

if __name__ == "__main__":
    for module in (phantoms, cluster_samples, seed_samples):
        module.make(FOLDER)
