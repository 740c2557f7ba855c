"""What is wrong with a data set: findings that name the file and the record, and the report that holds them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["KINDS", "Finding", "Report"]

#: Kind -> (severity, what it means). An error makes a data set unusable or its numbers wrong; a warning makes some use
#: impossible (a metric, another tool); a note is worth knowing.
KINDS: dict[str, tuple[str, str]] = {
    "malformed": ("error", "the file cannot be read"),
    "no-labels": ("error", "no label files were found"),
    "no-frames": ("error", "a file lists no frames"),
    "image-id-repeated": ("error", "two frames have one image id: both get the people of the first"),
    "image-repeated": ("error", "two frames are one image"),
    "image-elsewhere": ("error", "an image path leaves the data root"),
    "image-broken": ("error", "an image is empty, cut short or cannot be decoded"),
    "split-shared": ("error", "a video is in two splits"),
    "region-corners": ("error", "an ignore region has fewer than 3 corners; poseval fails on it"),
    "images-none": ("warning", "no image of the split is there; its predictions can be scored, no method can be run"),
    "images-missing": ("warning", "images of a sequence are missing"),
    "image-size": ("warning", "an image has another size than its label file or the first image says"),
    "folder-name": ("warning", "poseval needs folders named <digits>_<mpii|bonn|mpiinew>..."),
    "file-name": ("warning", "the label file is named otherwise than the video it describes"),
    "several-videos": ("warning", "a file per video describes several; poseval evaluates the first only"),
    "frame-number": ("warning", "a frame number is outside 0..9999; poseval refuses it"),
    "frame-order": ("warning", "frames are not in the order of their numbers"),
    "sizes-differ": ("warning", "frames of one video have different sizes"),
    "people-unlabelled": ("warning", "there are people on a frame that is marked as not labelled"),
    "person-repeated": ("warning", "two people of a frame have the same joints"),
    "annotation-id-repeated": ("warning", "two annotations have one id"),
    "category-other": ("warning", "an annotation is of another category than 1"),
    "track-missing": ("warning", "a person has no track id; tracking cannot be scored"),
    "track-range": ("warning", "a track id is 10000 or more; poseval refuses it"),
    "track-repeated": ("warning", "two people of a frame share a track id"),
    "head-missing": ("warning", "a person with joints has no head box; PCKh and poseval are undefined"),
    "head-empty": ("warning", "a head box has no area; nothing can match the person"),
    "box-empty": ("warning", "a box has no area"),
    "box-outside": ("warning", "a box does not touch the image"),
    "joint-outside": ("warning", "a joint is outside the image by more than a tenth of its size"),
    "joint-at-corner": ("warning", "a joint at (0, 0) counts as annotated because its third value is not 0"),
    "third-value": ("warning", "a third keypoint value or is_visible is none of 0, 1, 2"),
    "joint-never": ("warning", "a joint is never annotated in the split; its average precision is undefined"),
    "region-flat": ("warning", "an ignore region has no area"),
    "region-outside": ("warning", "an ignore region does not touch the image"),
    "sequence-unlabelled": ("warning", "no frame of a sequence is labelled"),
    "frames-listed": ("note", "a file lists another number of frames than its nframes says"),
    "frame-gap": ("note", "frame numbers are not consecutive"),
    "frame-first": ("note", "the first frame has another number than the data set's rule says"),
    "labelled-empty": ("note", "a frame is labelled but has no people"),
    "points-missing": ("note", "a person has no keypoint list"),
    "points-empty": ("note", "a person has no annotated joint"),
    "box-missing": ("note", "a person has no box; it is computed from the joints"),
    "joint-on-axis": ("note", "a joint has x <= 0 or y <= 0; the PoseTrack21 kit takes it for missing"),
    "ear-annotated": ("note", "an ear is annotated; no PoseTrack release does that"),
    "count-differs": ("note", "num_keypoints is not the number of annotated joints"),
    "sequence-count": ("note", "the split has another number of sequences than the known releases"),
}


@dataclass(frozen=True)
class Finding:
    """One problem: its `kind` (a key of KINDS), the `file`, the `record` in it and what was found."""

    kind: str
    file: str
    record: str
    found: str

    @property
    def severity(self) -> str:
        """error, warning or note."""
        return KINDS[self.kind][0]

    def __str__(self) -> str:
        return f"{self.severity}: {self.file}: {self.record}: {self.found} ({KINDS[self.kind][1]})"


@dataclass(frozen=True)
class Report:
    """Everything a check found, with the counts of each split and the fingerprint of its labels."""

    root: str
    name: str
    splits: Mapping[str, Mapping[str, object]]
    findings: tuple[Finding, ...] = field(default=())

    @property
    def usable(self) -> bool:
        """Whether nothing was found that makes the data set unusable."""
        return all(finding.severity != "error" for finding in self.findings)

    def count_of_kinds(self) -> dict[str, int]:
        """Kind -> how many, worst kinds first."""
        counts = Counter(finding.kind for finding in self.findings)
        return {kind: counts[kind] for kind in KINDS if kind in counts}

    def first_of_kinds(self, limit: int = 1) -> list[Finding]:
        """The first `limit` findings of every kind, worst kinds first."""
        return [finding for kind in KINDS for finding in _of_kind(self.findings, kind)[:limit]]

    def as_plain(self) -> dict[str, object]:
        """The report as JSON-ready data, every finding included."""
        rows = [{"severity": item.severity, **vars(item)} for item in self.findings]
        return {
            "root": self.root, "name": self.name, "usable": self.usable, "kinds": self.count_of_kinds(),
            "splits": {split: dict(facts) for split, facts in self.splits.items()}, "findings": rows,
        }  # fmt: skip


def _of_kind(findings: Iterable[Finding], kind: str) -> list[Finding]:
    return [finding for finding in findings if finding.kind == kind]
