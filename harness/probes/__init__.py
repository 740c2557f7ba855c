"""Probes: causal questions asked of a method by changing what it is shown, through the normal engine and scorer."""

from harness.probes.probe import Probe, probe_named
from harness.probes.registry import KINDS, ProbeCard, probe_cards

__all__ = ["KINDS", "Probe", "ProbeCard", "probe_cards", "probe_named"]
