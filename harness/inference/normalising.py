"""Grey levels to network input: (B,T,H,W,3) uint8 -> (B,T,3,H,W) float32, mean 0 and deviation 1 per channel."""

from __future__ import annotations

import torch

from harness.methods import CropSpec

__all__ = ["Normaliser"]

#: Values treated at a time on a CPU: what stays in its cache between the three passes over them.
_CHUNK = 2**18


class Normaliser:
    """Normalises crops as a spec says. On a CPU the same memory is used again: a result holds until the next call."""

    def __init__(self, spec: CropSpec, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        self._room = torch.empty(0)
        self._of_width: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        """(B,T,3,H,W) float32, channels last in memory as convolutions like it."""
        # Rows of W * 3 values at once: broadcasting over the three channels alone is not vectorised.
        width = crops.shape[3]
        mean, std = self._rows_of(width)
        rows = crops.reshape(-1, width * 3)
        if self.device.type != "cpu":
            return self._shaped(rows.float().sub_(mean).div_(std), crops)
        values = self._memory(rows.numel()).view(rows.shape)
        step = max(1, _CHUNK // (width * 3))
        for start in range(0, len(rows), step):
            values[start : start + step].copy_(rows[start : start + step]).sub_(mean).div_(std)
        return self._shaped(values, crops)

    def _rows_of(self, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation of a row of pixels; made once, as every upload of a constant would halt a GPU."""
        if width not in self._of_width:
            constants = (self.spec.mean, self.spec.std)
            mean, std = ((torch.tensor(values, device=self.device) * 255).repeat(width) for values in constants)
            self._of_width[width] = mean, std
        return self._of_width[width]

    def _memory(self, count: int) -> torch.Tensor:
        if len(self._room) < count:
            self._room = torch.empty(count)
        return self._room[:count]

    def _shaped(self, values: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
        return values.view(crops.shape).permute(0, 1, 4, 2, 3)
