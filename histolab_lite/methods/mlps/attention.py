"""Progressive dropout attention: which share of a class's strongest evidence stays on, epoch by epoch (eq. 11)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DropoutCoefficient:
    """μ_t: ``start`` in the first ``hold`` epochs, then times ``decay`` every epoch, and never below ``floor``.

    The defaults are the paper's: 1, three epochs, 0.985, 0.65. The floor is reached in the 32nd epoch; the 20 epochs
    of the paper's LUAD-HistoSeg end at 0.77.

    At μ = 1 the attention is there and drops nothing (eq. 8). In the authors' code, instead, there is no attention in
    the first three epochs, μ shrinks from the first one on, and the decay is 0.98.
    """

    start: float = 1.0
    hold: int = 3
    decay: float = 0.985
    floor: float = 0.65

    def __post_init__(self) -> None:
        if not (0 <= self.floor <= self.start <= 1 and 0 < self.decay <= 1 and self.hold >= 0):
            raise ValueError(f"expected 0 <= floor <= start <= 1, 0 < decay <= 1 and hold >= 0; got {self}.")

    def __call__(self, epoch: int) -> float:
        """μ in the epoch of this number, counted from 0."""
        return max(self.floor, self.start * self.decay ** max(epoch - self.hold + 1, 0))


#: Progressive dropout attention, PDA.
PROGRESSIVE = DropoutCoefficient()


def constant(mu: float = 0.7) -> DropoutCoefficient:
    """Dropout attention, DA, of the ablation (Table III): the same μ in every epoch."""
    return DropoutCoefficient(start=mu, floor=mu)
