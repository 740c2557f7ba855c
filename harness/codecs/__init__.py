"""Codecs: joints <-> network outputs, batched torch on any device. `codecs[name](size=(W, H), **options)` makes one."""

from harness.codecs.codec import Codec, Decoded, Geometry, Targets, build_codec, codecs, register_codec
from harness.codecs.coordinates import CoordinatesCodec
from harness.codecs.heatmap import HeatmapCodec
from harness.codecs.peaks import mirror_maps, peaks

__all__ = [
    "Codec",
    "CoordinatesCodec",
    "Decoded",
    "Geometry",
    "HeatmapCodec",
    "Targets",
    "build_codec",
    "codecs",
    "mirror_maps",
    "peaks",
    "register_codec",
]
