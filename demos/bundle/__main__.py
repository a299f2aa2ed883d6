"""python -m demos.bundle: make the files of this folder again, some minutes."""

import demos.naming.samples as clusters
import demos.seeding.samples as slides
from demos import phantoms
from demos.bundle import FOLDER

if __name__ == "__main__":
    for module in (phantoms, clusters, slides):
        module.make(FOLDER)
