"""The ledger: claims.yaml and evidence.json beside the lessons, and README's block and picture, kept together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tools.lessons import claims_report, evidence
from tools.lessons.claims import CLAIMS, Claim, Evidence, judge_all, problem, read_claims
from tools.lessons.claims_picture import picture
from tools.lessons.report import write_text
from tools.lessons.runs import read_metrics


@dataclass(frozen=True)
class Ledger:
    """`claims`: those of the file beside the lessons, which lie in `folder`."""

    folder: Path
    claims: list[Claim]

    @property
    def readme(self) -> Path:
        return self.folder.parent / "README.md"

    @classmethod
    def read(cls, folder: Path, to_write: bool) -> Ledger:
        """The ledger of a folder of lessons; without claims.yaml, and not `to_write`, it has no claims.

        Raises FileNotFoundError or ClaimError naming what cannot be read or, later, written.
        """
        folder, path = folder.resolve(), folder / CLAIMS
        ledger = cls(folder, read_claims(path) if to_write or path.exists() else [])
        if to_write:
            ledger.rendered(evidence.read_evidence(folder / evidence.EVIDENCE))
        return ledger

    def rendered(self, known: Evidence) -> dict[Path, str]:
        """What the files hold that are made from the claims and this evidence."""
        block = claims_report.as_markdown(self.claims, known, self.folder.name)
        return {
            self.folder / claims_report.PICTURE: picture(judge_all(self.claims, known)),
            self.readme: claims_report.replace_block(self.readme.read_text(encoding="utf-8"), block),
        }

    def take(self, results: Path, wanted: Collection[str] | None = None) -> None:
        """Take a run's lessons that claims name, all or those `wanted`, into the evidence; write, and say what holds.

        Raises ClaimError where they do not allow to judge a claim (`evidence.take`); then nothing is written.
        """
        content = read_metrics(results)
        run = {stem: x for stem, x in content["lessons"].items() if wanted is None or stem in wanted}
        path = self.folder / evidence.EVIDENCE
        new = evidence.of_run(run, content["environment"])
        known = evidence.take(evidence.read_evidence(path), new, self.claims)
        for file, text in {path: evidence.as_text(known), **self.rendered(known)}.items():
            write_text(file, text)
        failed = [f"{stem} failed: the evidence keeps what it had of it." for stem in run if stem not in new]
        claims_report.show(judge_all(self.claims, known), [*failed, *self._complaints(known)])

    def _complaints(self, known: Evidence) -> list[str]:
        return [complaint for claim in self.claims if (complaint := problem(claim, known))]
