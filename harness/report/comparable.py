"""Which runs may stand in one column: same labels, same protocol, same boxes; and what to call each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records import RunRecord
from harness.typed_json import to_plain

__all__ = ["Ground", "by_ground", "ground_of", "grounds_apart", "labels", "machine_of", "same_machine", "short"]


@dataclass(frozen=True)
class Ground:
    """What two runs must share for their numbers to be comparable."""

    dataset: str
    split: str
    fingerprint: str
    protocol: str
    boxes: str
    boxes_sha256: str | None
    probe: str = ""

    def __str__(self) -> str:
        given = self.boxes_in_words if self.boxes == "none" else f"boxes: {self.boxes_in_words}"
        text = f"{self.dataset} {self.split} ({short(self.fingerprint)}), protocol {self.protocol}, {given}"
        return f"{text}, probe: {self.probe}" if self.probe else text

    @property
    def boxes_in_words(self) -> str:
        """What people were looked for in: truth, a detector's file, or nothing."""
        if self.boxes == "none":
            return "no boxes (whole frames)"
        return f"{self.boxes} ({short(self.boxes_sha256)})" if self.boxes_sha256 else self.boxes


def ground_of(record: RunRecord) -> Ground:
    """The ground a run stands on."""
    data, boxes = record.dataset, record.boxes
    probe = str(record.request.get("probe") or "")
    return Ground(data.name, data.split, data.fingerprint, data.protocol, boxes.source, boxes.sha256, probe)


def by_ground(records: Sequence[RunRecord]) -> dict[Ground, list[RunRecord]]:
    """Runs gathered by ground, in the order the grounds first appear."""
    gathered: dict[Ground, list[RunRecord]] = {}
    for record in records:
        gathered.setdefault(ground_of(record), []).append(record)
    return gathered


def grounds_apart(records: Sequence[RunRecord]) -> str:
    """What to say where compared runs do not stand on one ground; nothing where they do."""
    grounds = {ground_of(record) for record in records}
    boxes, probes = ({getattr(ground, name) for ground in grounds} for name in ("boxes_in_words", "probe"))
    if len(boxes) > 1:
        return "The runs were not given the same boxes: differences hold what boxes are worth, and rank nothing."
    if len(probes) > 1:
        return "The runs were not shown the same: differences hold what the probe does, and rank nothing."
    return ""


def same_machine(records: Sequence[RunRecord]) -> bool:
    """True when the speeds of the runs can be compared: one kind of device and, on the CPU, as many cores."""
    return len({machine_of(record) for record in records}) <= 1


def machine_of(record: RunRecord) -> str:
    """The device a run ran on, in words."""
    device = record.inference.device if record.inference else "unknown device"
    return f"{device}, {record.environment.cpu_count} cores" if device == "cpu" else device


def labels(records: Sequence[RunRecord]) -> list[str]:
    """One name per run, "Title (preset)", its label and any codec but the preset's, and the settings that differ.

    Where none differ the key of the run does it.
    """
    names = [_title(record) for record in records]
    for name in _repeated(names):
        places = [place for place, other in enumerate(names) if other == name]
        settings = [_settings(records[place]) for place in places]
        keys = [key for key in sorted({key for each in settings for key in each}) if _differs(key, settings)]
        for place, each in zip(places, settings, strict=True):
            names[place] = ", ".join([name, *(word for key in keys if (word := _word(key, each.get(key))))])
    again = _repeated(names)
    keyed = [
        f"{name} #{record.id[-8:]}" if name in again else name for name, record in zip(names, records, strict=True)
    ]
    same = _repeated(keyed)  # one request stored twice, in two results folders
    return [f"{name} [{place}]" if name in same else name for place, name in enumerate(keyed, start=1)]


def short(digest: str | None) -> str:
    """First 8 digits of a hash or fingerprint.

    >>> short("sha256:0123456789abcdef")
    '01234567'
    """
    return (digest or "none").removeprefix("sha256:")[:8]


def _title(record: RunRecord) -> str:
    codec = f"codec {record.request['codec']}" if "codec" in record.request else ""
    return ", ".join(filter(None, (f"{record.method.title} ({record.method.preset})", codec, record.label)))


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _settings(record: RunRecord) -> dict[str, Any]:
    plain = to_plain(record.inference) or {}
    plain.pop("batch_size", None)
    weights = record.weights.name if record.weights else None
    digest = short(record.weights.sha256) if record.weights else None
    return {
        **_flat(plain), **_flat(record.method.options), **_flat(record.request),
        "weights": weights, "weights sha256": digest, "harness": record.harness_version,
    }  # fmt: skip


def _flat(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("_", " "): to_plain(value) for key, value in mapping.items()}


def _differs(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    return any(each.get(key) != settings[0].get(key) for each in settings)


def _word(key: str, value: Any) -> str:
    if value is None or value is False or value == {}:
        return ""
    return key if value is True else f"{key} {value}"
