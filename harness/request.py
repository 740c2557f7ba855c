"""What a user asks for, and the description of it that a record starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boxes import NO_BOXES, Boxes
from harness.datasets import NO_TRACK, DataSet
from harness.datasets.images import images_fingerprint
from harness.environment import describe_environment
from harness.records import BoxesUsed, Cost, DataUsed, InferenceUsed, MethodUsed, Partial, RunRecord, WeightsUsed
from harness.suppression import threshold_of
from harness.weights import weights

if TYPE_CHECKING:
    from harness.inference import Ready
    from harness.inference.intervening import Intervention

__all__ = ["Request", "describe"]


@dataclass(frozen=True)
class Request:
    """What a user asks of `harness eval`; named as on the command line, None being the choice of the preset.

    `outputs` "backbone" asks for the heatmaps of the method's own backbone on the key frame, its control; `probe`
    changes what the method is shown.
    """

    method: str
    split: str = "val"
    dataset: str = "synthtrack"
    data_root: Path | None = None
    video: Path | None = None
    preset: str | None = None
    weights: str | None = None
    codec: str | None = None
    outputs: str = "method"
    boxes: str = "truth"
    min_box_score: float = 0.2
    box_enlarge: float = 1.0
    nms: str = "none"
    nms_threshold: float | None = None
    track: str = "none"
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "fp32"
    crop_path: str = "reference"
    fold: bool = False
    compiler: str = "none"
    deterministic: bool = False
    keep_going: bool = False
    flip: bool | None = None
    limit: int | None = None
    allow_missing_frames: bool = False
    command: str = ""
    probe: Intervention | None = None
    label: str = ""


def describe(
    request: Request, ready: Ready, dataset: DataSet, boxes: Boxes, *, recall: float | None, partial: Partial | None
) -> RunRecord:
    """The record of a request before it has run: everything but scores, cost and predictions."""
    return RunRecord(
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=request.command,
        method=_method(ready),
        dataset=_data(dataset, looked_at=bool(ready.method.preset.support)),
        boxes=_boxes_used(boxes, recall),
        inference=_inference(request, ready),
        scores=(),
        cost=Cost(parameters=ready.parameters),
        environment=describe_environment(),
        weights=_weights(ready),
        warnings=_warnings(ready, dataset, boxes),
        partial=_probed(request, partial),
        request=_asked_codec(ready) | _afterwards(request),
        label=request.label,
    )


def _boxes_used(boxes: Boxes, recall: float | None) -> BoxesUsed:
    if boxes.source == NO_BOXES:
        return BoxesUsed(NO_BOXES, None, 0)
    return BoxesUsed(boxes.source, boxes.sha256, len(boxes), recall)


def _probed(request: Request, partial: Partial | None) -> Partial | None:
    """A probed run answers another question than the split asks, so it is never ranked."""
    if request.probe is None:
        return partial
    return Partial("; ".join([f"probe: {request.probe.label}", *([partial.reason] if partial else [])]))


def _asked_codec(ready: Ready) -> dict[str, str | float]:
    """The codec, where the outputs are read by another one than the preset's."""
    method = ready.method
    usual = method.card.presets.get(method.preset_name, method.preset).codec
    return {} if method.preset.codec == usual else {"codec": method.preset.codec}


def _afterwards(request: Request) -> dict[str, str | float]:
    """What is asked about outputs, probes, suppression and tracks; nothing where none is, as in records from before."""
    asked: dict[str, str | float] = {} if request.outputs == "method" else {"outputs": request.outputs}
    if request.probe is not None:
        asked["probe"] = request.probe.label
    if request.nms != "none":
        usual = threshold_of(request.nms)
        asked |= {
            "nms": request.nms,
            "nms_threshold": usual if request.nms_threshold is None else request.nms_threshold,
        }
    return asked if request.track == "none" else asked | {"track": request.track}


def _method(ready: Ready) -> MethodUsed:
    method = ready.method
    return MethodUsed(
        method.card.name, method.card.title, method.preset_name, method.preset.options, method.card.licence
    )


def _data(dataset: DataSet, *, looked_at: bool) -> DataUsed:
    sequences = dataset.sequences
    return DataUsed(
        name=dataset.name,
        split=dataset.split,
        fingerprint=dataset.fingerprint,
        protocol=dataset.protocol,
        sequences=len(sequences),
        frames=dataset.frame_count,
        labelled_frames=sum(int(sequence.labelled.sum()) for sequence in sequences),
        people=sum(len(sequence.truth) for sequence in sequences),
        images_fingerprint=images_fingerprint(dataset) if looked_at else None,
    )


def _inference(request: Request, ready: Ready) -> InferenceUsed:
    from harness.inference import FRAME_SCORE_RULE, SCORE_RULE, choose_device
    from harness.methods import WholeFramePreset

    preset = ready.method.preset
    return InferenceUsed(
        codec=preset.codec,
        crop_size=preset.crop.size,
        enlarge=preset.crop.enlarge,
        support=preset.support,
        flip_test=preset.flip_test if request.flip is None else request.flip,
        precision=request.precision,
        device=str(choose_device(request.device)),
        batch_size=request.batch_size,
        score_rule=FRAME_SCORE_RULE if isinstance(preset, WholeFramePreset) else SCORE_RULE,
        box_offset=preset.box_offset,
        codec_options=preset.codec_options,
        crop_path=request.crop_path,
        recurrent=preset.recurrent,
        frame=asdict(preset.frame) if isinstance(preset, WholeFramePreset) else {},
    )


def _weights(ready: Ready) -> WeightsUsed | None:
    loaded = ready.weights
    return WeightsUsed(loaded.name or loaded.path.name, loaded.sha256) if loaded else None


def _warnings(ready: Ready, dataset: DataSet, boxes: Boxes) -> tuple[str, ...]:
    """Say it when tracks are missed, and when tiny weights, made for the embedded data, meet real video."""
    untracked = ready.method.preset.recurrent and len(boxes) and (boxes.track_ids == NO_TRACK).all()
    found: tuple[str, ...] = (
        (f"{ready.method.card.name} ({ready.method.preset_name}) follows tracks, and no box has a track id: "
         "every pose was made without a past; --track iou gives boxes ids",)
        if untracked else ()
    )  # fmt: skip
    if ready.weights and ready.weights.codec not in ("", ready.method.preset.codec):
        learned = ready.weights.codec
        found += (f"{ready.weights.path.name} learned to be read by codec '{learned}'; --codec {learned} does",)
    name = ready.weights.name if ready.weights else ""
    trained_on = weights[name].trained_on if name else ""
    if not trained_on.startswith("synthtrack") or dataset.name.startswith("synthtrack"):
        return found
    made = f"weights {name} were made for the embedded data ({trained_on}); on {dataset.name} expect low numbers"
    return (*found, made)
