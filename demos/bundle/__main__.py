"""python -m demos.bundle: make the files of this folder again; takes some minutes."""

from demos.bundle import FOLDER
from demos.proto2seg import samples as clusters
from demos.shared import phantoms
from demos.sic import samples as slides

if __name__ == "__main__":
    for module in (phantoms, clusters, slides):
        module.make(FOLDER)
