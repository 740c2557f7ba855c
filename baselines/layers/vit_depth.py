"""Which layer of a vision transformer a parameter belongs to, for learning rates that fall towards the input."""

from __future__ import annotations

import re

__all__ = ["vit_layer"]

_NAME = re.compile(r"(?:^|\.)backbone\.(?:blocks\.(\d+)\.|patch_embed\b|pos_embed\b)")


def vit_layer(name: str) -> int | None:
    """0 for patches and positions, n + 1 for block n, None (above the last) for whatever reads the encoder.

    >>> vit_layer("backbone.pos_embed"), vit_layer("backbone.backbone.blocks.3.attn.proj.bias"), vit_layer("head.bias")
    (0, 4, None)
    """
    found = _NAME.search(name)
    return None if found is None else int(found[1]) + 1 if found[1] else 0
