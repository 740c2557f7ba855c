"""Codecs: joints <-> network outputs, batched torch on any device. `codecs[name](size=(W, H), **options)` makes one."""

from harness.codecs.codec import Codec, Decoded, Form, Geometry, Targets, build_codec, codecs, read_as, register_codec
from harness.codecs.coordinates import CoordinatesCodec
from harness.codecs.dark import DarkCodec
from harness.codecs.dsnt import DsntCodec
from harness.codecs.heatmap import HeatmapCodec
from harness.codecs.maps import MapCodec
from harness.codecs.peaks import mirror_maps, peaks
from harness.codecs.queries import QueriesCodec
from harness.codecs.simcc import SimccCodec
from harness.codecs.simcc_maps import SimccMapsCodec
from harness.codecs.udp import UdpCodec, UdpOffsetCodec

__all__ = [
    "Codec",
    "CoordinatesCodec",
    "DarkCodec",
    "Decoded",
    "DsntCodec",
    "Form",
    "Geometry",
    "HeatmapCodec",
    "MapCodec",
    "QueriesCodec",
    "SimccCodec",
    "SimccMapsCodec",
    "Targets",
    "UdpCodec",
    "UdpOffsetCodec",
    "build_codec",
    "codecs",
    "mirror_maps",
    "peaks",
    "read_as",
    "register_codec",
]
