"""python -m demos.bundle: make the files of this folder again, some minutes."""

from demos import phantoms
from demos.bundle import FOLDER

if __name__ == "__main__":
    for module in (phantoms,):
        module.make(FOLDER)
