"""What stored runs are checked against: data, images and weights as they are now, embedded, shipped or named."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from harness.datasets import DataSet, datasets
from harness.datasets.images import image_hashes
from harness.datasets.label_files import PLACES, labels_below
from harness.datasets.synthtrack.drawn import changed_images
from harness.errors import DataError, HarnessError, UsageError, listed
from harness.files import sha256_of
from harness.records import RunRecord
from harness.reopen import fitting, images_now, looked_at, reopen, rescorer, weights_path
from harness.results import Results, StoredRun
from harness.verify import Images, Verification, verify

__all__ = ["Evidence"]


class Evidence:
    """The material to verify `runs` with; what of it should be there and is not, or cannot be read, is a finding.

    Embedded data and shipped weights should be there, and so should what a user names: the data below `root`, and the
    files `weights`. A root is named for the data sets whose labels lie in it, and for all of the runs' where none do.
    In a `store`, each run has its place.
    """

    def __init__(
        self,
        runs: Sequence[StoredRun],
        *,
        store: Results | None = None,
        root: Path | None = None,
        weights: Sequence[Path] = (),
    ) -> None:
        self.runs = runs
        self.store = store
        self.root = root
        self.weights = weights
        self._opened: dict[tuple[str, str], DataSet | HarnessError | None] = {}
        self._redrawn: dict[Path, frozenset[str] | None] = {}

    def check_weights(self) -> None:
        """Raise UsageError for named weights that none of the runs can mean."""
        used = {path for run in self.runs for path in fitting(run.record, self._digests)}
        if unused := [str(path) for path in self._digests if path not in used]:
            raise UsageError(
                f"--weights {listed(unused)}: none of the runs was made with a file of that name or content; "
                "`harness runs show RUN` names the weights"
            )

    def verify(self, run: StoredRun) -> Verification:
        """One of the runs, compared with everything that is at hand."""
        dataset, absent = self._dataset(run.record), {}
        if isinstance(dataset, str):
            absent["data"] = dataset
        known = dataset if isinstance(dataset, DataSet) else None
        images: Images | HarnessError | None = None
        if known is not None:
            try:
                images, absent["images"] = self._images(run, known)
            except HarnessError as problem:
                images = problem
        return verify(
            run, rescore=rescorer(known) if known else None, weights=weights_path(run.record, self._digests),
            fingerprint=known.fingerprint if known else dataset if isinstance(dataset, HarnessError) else None,
            images=images, absent=absent, place=self.store.place_of(run) if self.store else None,
        )  # fmt: skip

    @cached_property
    def _digests(self) -> dict[Path, str]:
        return {path: sha256_of(path) for path in self.weights}

    def _dataset(self, record: RunRecord) -> DataSet | HarnessError | str | None:
        """The data of a run; the error for which they cannot be had, or in words why nobody expects them here."""
        name = record.dataset.name
        if name in datasets and datasets[name].prepare is None and (reason := self._not_meant(name)):
            return reason
        return self._open(record)

    def _open(self, record: RunRecord) -> DataSet | HarnessError | None:
        key = (record.dataset.name, record.dataset.split)
        if key not in self._opened:
            try:
                self._opened[key] = reopen(record, self.root)
            except HarnessError as problem:
                self._opened[key] = problem
        return self._opened[key]

    def _not_meant(self, name: str) -> str:
        """Why the root is not named for a data set: it is another's; "" where it is."""
        if self.root is None or not (held := {other for other, files in self._held.items() if files}):
            return ""
        if name not in held:
            return f"{self.root} holds labels of {listed(sorted(held))}, and none of {name}"
        # One place may be that of several releases: the files are taken for those of the one they are known to be.
        same = [other for other in held - {name} if self._held[name] <= self._held[other]]
        theirs = [other for other in same if self._unchanged(other)]
        if theirs and not self._unchanged(name):
            return f"the labels in {self.root} are those of {listed(sorted(theirs))}, not of {name}"
        return ""

    def _unchanged(self, name: str) -> bool:
        """Whether the labels of a data set are those of a run."""
        own = [run.record for run in self.runs if run.record.dataset.name == name]
        found = [(record, self._open(record)) for record in own]
        return any(isinstance(data, DataSet) and data.fingerprint == one.dataset.fingerprint for one, data in found)

    @cached_property
    def _held(self) -> dict[str, frozenset[Path]]:
        """Data set of a run that is not embedded -> its label files below the root."""
        names = {run.record.dataset.name for run in self.runs}
        return {name: self._labels(name) for name in names if name in datasets and datasets[name].prepare is None}

    def _labels(self, name: str) -> frozenset[Path]:
        assert self.root is not None  # noqa: S101
        if name in PLACES:
            return labels_below(name, self.root, datasets[name].splits)
        own = [run.record for run in self.runs if run.record.dataset.name == name]
        return frozenset({self.root / name} if any(isinstance(self._open(one), DataSet) for one in own) else ())

    def _images(self, run: StoredRun, dataset: DataSet) -> tuple[Images | None, str]:
        """A run's images as they are, or None and why not; DataError for images that are gone or changed here.

        Embedded data are drawn anew on each machine: where they came out otherwise than for the record, and are as
        they were drawn, they are not compared.
        """
        own, used = looked_at(run.record, dataset, run.predictions_path), run.record.dataset
        if own is None:
            return None, "which ones the run looked at is not known without its predictions"
        embedded = datasets[used.name].prepare is not None
        redrawn = self._changed(own) if embedded else None
        found = Images(images_now(own), image_hashes(own) if used.images else {})
        if not embedded or found == Images(used.images_fingerprint or "", used.images):
            return found, ""
        why = "were drawn otherwise here than for the record"
        if redrawn is None:
            why = ("are other than the record's, and drawn by an earlier version, which kept no hashes: "
                   f"remove {dataset.root}, and they are drawn anew")  # fmt: skip
        return None, f"those of {dataset.name} {why}"

    def _changed(self, own: DataSet) -> bool | None:
        """False where the embedded images of a run are as they were drawn, None where that is not known."""
        if own.root not in self._redrawn:
            self._redrawn[own.root] = changed_images(own.root)
        if (changed := self._redrawn[own.root]) is None:
            return None
        mine = [frame for sequence in own.sequences for frame in sequence.frames if frame.image in changed]
        if not mine:
            return False
        raise DataError(
            f"{len(mine)} of {own.frame_count} of {own.name} {own.split} changed since they were drawn here, "
            f"the first: {own.image_path(mine[0])}; remove {own.root}, and they are drawn anew"
        )
