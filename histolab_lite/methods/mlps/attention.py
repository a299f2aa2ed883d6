"""Progressive dropout attention: how much of a class's strongest evidence stays on, epoch by epoch (eq. 11)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DropoutCoefficient:
    """The coefficient μ of every epoch: constant at first, then shrinking, down to a floor.

    The defaults are the paper's. They reach the floor in the 32nd epoch; the 20 epochs of the paper's LUAD-HistoSeg
    end at 0.77. At μ = 1 the attention is there and drops nothing (eq. 8). The authors' code differs: it has no
    attention in the first three epochs, μ shrinks from the first one on, and the decay is 0.98.

    Parameters
    ----------
    start
        μ of the first epochs.
    hold
        Number of epochs at ``start``.
    decay
        Factor on μ per epoch after them.
    floor
        The smallest μ.

    Raises
    ------
    ValueError
        Not 0 <= floor <= start <= 1, 0 < decay <= 1 and hold >= 0.
    """

    start: float = 1.0
    hold: int = 3
    decay: float = 0.985
    floor: float = 0.65

    def __post_init__(self) -> None:
        if not (0 <= self.floor <= self.start <= 1 and 0 < self.decay <= 1 and self.hold >= 0):
            raise ValueError(f"expected 0 <= floor <= start <= 1, 0 < decay <= 1 and hold >= 0; got {self}.")

    def __call__(self, epoch: int) -> float:
        """Return μ in the epoch of this number, counted from 0."""
        return max(self.floor, self.start * self.decay ** max(epoch - self.hold + 1, 0))


#: Progressive dropout attention, PDA.
PROGRESSIVE = DropoutCoefficient()


def constant(mu: float = 0.7) -> DropoutCoefficient:
    """Make dropout attention, DA, of the ablation (Table III): the same μ in every epoch."""
    return DropoutCoefficient(start=mu, floor=mu)
