"""A frame as the shutter sees it: the average of sub-frames of the scene, camera included (specification 5, 6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets.synthtrack.background import canvas_centre, draw_background
from harness.datasets.synthtrack.body import POINTS
from harness.datasets.synthtrack.camera import View, homography
from harness.datasets.synthtrack.degrade import degrade
from harness.datasets.synthtrack.geometry import Geometry, project_scene
from harness.datasets.synthtrack.raster import Surface, nearest_surface
from harness.datasets.synthtrack.scene import Scene

__all__ = ["Layers", "Renderer", "exposure_motion", "label_layers"]

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

#: px of motion that one sub-frame stands for, and the fewest and most sub-frames.
_STEP, _FEWEST, _MOST = 2.5, 3, 16
_BLOB = np.maximum(1 - 0.5 * np.exp(-3.0 * np.add.outer(*(np.linspace(-1.3, 1.3, 40) ** 2,) * 2) ** 2), 0).astype(
    np.float32
)
_FAR = np.float32(1e9)


@dataclass(frozen=True)
class Layers:
    """What lies at every pixel at the label time.

    `owner` (H,W) capsule number, -1 background, -2 - s slab s; `depth` in m.
    """

    owner: NDArray[np.int64]
    depth: NDArray[np.float32]


def exposure_motion(scene: Scene) -> Array:
    """(F,P,15,2) px: how far each joint moves in the picture while the shutter is open."""
    ends = scene.label_times[:, None] + scene.exposure * np.array([-0.5, 0.5])
    joints = project_scene(scene, ends.reshape(-1)).joints
    return joints[1::2] - joints[::2]


def label_layers(scene: Scene, geometry: Geometry, time: int) -> Layers:
    """The id and z buffers at one time of `geometry`, without any degradation."""
    width, height = scene.size
    depth = np.full((height, width), _FAR, np.float32)
    owner = np.full((height, width), -1, np.int64)
    for index in range(len(scene.slabs)):
        if (patch := _slab_patch(geometry, time, index, depth, np.zeros(2))) is not None:
            rows, columns, mask, _, _ = patch
            depth[rows, columns][mask] = geometry.slab_depth[time, index]
            owner[rows, columns][mask] = -2 - index
    surface = _surface(geometry, time, depth, np.zeros(2))
    owner.reshape(-1)[surface.pixel] = surface.capsule
    return Layers(owner, depth)


class Renderer:
    """Draws the frames of one scene; the background is painted on first use."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @cached_property
    def _painted(self) -> tuple[Picture, Array]:
        return draw_background(self.scene)

    @property
    def crowd(self) -> Array:
        """(K,2) outline of the distant crowd in canvas pixels, (0,2) without one."""
        return self._painted[1]

    @cached_property
    def _paint(self) -> tuple[NDArray[np.float32], ...]:
        looks = [person.appearance for person in self.scene.people]
        chairs = 3 * sum(len(person.chair) > 0 for person in self.scene.people)
        colours = [look.colours for look in looks] + [np.full((chairs, 3, 3), (118, 88, 62), np.float32)]
        zeros = np.zeros(chairs, np.float32)
        rings, stripes, cut = (
            np.concatenate([getattr(look, name) for look in looks] + [zeros]) for name in ("rings", "stripes", "cut")
        )
        cut[len(cut) - chairs :] = 2.0
        return np.concatenate(colours).reshape(-1, 3), rings, stripes, cut

    def frames(self) -> Iterator[Picture]:
        """Every frame, (H,W,3) RGB, degraded as the sequence's camera does."""
        motion = np.linalg.norm(exposure_motion(self.scene), axis=-1).max(axis=(1, 2))
        counts = np.clip(np.ceil(motion / _STEP), _FEWEST, _MOST).astype(int)
        offsets = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
        times = np.concatenate(
            [time + self.scene.exposure * offset for time, offset in zip(self.scene.label_times, offsets, strict=True)]
        )
        geometry = project_scene(self.scene, times)
        first = 0
        for frame, count in enumerate(counts):
            clean = self._expose(geometry, range(first, first + count))
            yield degrade(clean, self.scene.degradation, seed=self.scene.seed, frame=frame)
            first += count

    def _expose(self, geometry: Geometry, moments: range) -> Picture:
        """Average the people and objects of all sub-frames over one background blurred by the camera's motion."""
        width, height = self.scene.size
        total, covered = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.uint8)
        for moment, shift in zip(moments, _sub_pixel_shifts(len(moments)), strict=True):
            picture, depth = self._draw(geometry, moment, shift)
            cv2.accumulate(picture, total)
            covered += (depth < _FAR).view(np.uint8)
        backdrop = self._backdrop(geometry, moments)
        self._shadows(backdrop, geometry, moments[len(moments) // 2])
        share = cv2.LUT(covered, (1 - np.arange(256) / len(moments)).astype(np.float32))
        behind = cv2.multiply(backdrop, cv2.merge([share] * 3), dtype=cv2.CV_32F)
        return np.asarray(cv2.convertScaleAbs(cv2.scaleAdd(total, 1 / len(moments), behind)), np.uint8)

    def _backdrop(self, geometry: Geometry, moments: range) -> Picture:
        """The background at the middle of the exposure, smeared along the way that its centre takes."""
        width, height = self.scene.size
        maps = self._maps(geometry, moments)
        centre = np.append(canvas_centre(self.scene.size), 1.0)
        ends = maps[[0, -1]] @ centre
        way = np.subtract(*(ends[:, :2] / ends[:, 2:])) * len(moments) / (len(moments) - 1)
        # Three doublings, each an average of two copies a whole number of px apart, make eight positions.
        steps = [np.rint(way / part).astype(int) for part in (2, 4, 8)]
        steps = [step for step in steps if step.any()]
        margin = np.sum([np.abs(step) for step in steps], axis=0, dtype=int) if steps else np.zeros(2, int)
        move = np.eye(3)
        move[:2, 2] = margin / 2
        middle = move @ maps[[(len(maps) - 1) // 2, len(maps) // 2]].mean(axis=0)
        size = (width + int(margin[0]), height + int(margin[1]))
        warped = cv2.warpPerspective(
            self._painted[0], middle, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        picture = np.asarray(warped, np.uint8)
        for step in steps:
            picture = _doubled(picture, step)
        return picture

    def _maps(self, geometry: Geometry, moments: range) -> Array:
        """(n,3,3) canvas -> picture."""
        select, view = slice(moments.start, moments.stop), geometry.view
        part = View(view.axes[select], view.focal[select], view.angles[select], view.position, view.centre)
        matrices = homography(
            part,
            self.scene.camera.reference(),
            canvas_centre=canvas_centre(self.scene.size),
            shift=np.zeros((len(moments), 2)),
        )
        return matrices / matrices[:, 2:, 2:]

    def _shadows(self, picture: Picture, geometry: Geometry, moment: int) -> None:
        """A dark ellipse on the ground under every person."""
        feet = geometry.points[moment][:, [POINTS["left_ankle"], POINTS["right_ankle"], POINTS["pelvis"]]].mean(axis=1)
        feet[:, 2] = 0
        view = geometry.view
        seen = (feet - view.position) @ view.axes[moment].T
        for right, down, forward in seen:
            if forward < 0.5:
                continue
            scale = view.focal[moment] / forward
            half = np.array([0.42, 0.42 * np.clip(down / forward, 0.05, 1)]) * scale
            _darken(picture, np.array([right, down]) * scale + view.centre, half)

    def _draw(self, geometry: Geometry, moment: int, shift: Array) -> tuple[Picture, NDArray[np.float32]]:
        """Objects and people at one moment, black where there are none, and their depth."""
        width, height = self.scene.size
        picture, depth = np.zeros((height, width, 3), np.uint8), np.full((height, width), _FAR, np.float32)
        for index, slab in enumerate(self.scene.slabs):
            if (patch := _slab_patch(geometry, moment, index, depth, shift)) is not None:
                rows, columns, mask, u, v = patch
                depth[rows, columns][mask] = geometry.slab_depth[moment, index]
                picture[rows, columns][mask] = _slab_colours(slab.colours, slab.stripes, u, v, mask, rounded=slab.round)
        surface = _surface(geometry, moment, depth, shift)
        picture.reshape(-1, 3)[surface.pixel] = self._shade(surface, geometry, moment)
        return picture, depth

    def _shade(self, surface: Surface, geometry: Geometry, moment: int) -> Picture:
        colours, rings, stripes, cut = self._paint
        capsule, light = surface.capsule, self.scene.light
        axis = geometry.ends[moment, :, 1] - geometry.ends[moment, :, 0]
        axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-3)
        toward = np.stack([axis @ light[:2], axis @ np.array([light[1], -light[0]])]).astype(np.float32)
        lit = surface.bulge * np.float32(light[2])
        lit += surface.across * toward[1][capsule]
        lit += surface.beyond * toward[0][capsule]
        lit = np.float32(0.46) + np.float32(0.54) * np.maximum(lit, 0)
        bands = np.floor(surface.along * rings[capsule]) + np.floor(surface.across * stripes[capsule])
        choice = np.where(surface.along > cut[capsule], 2, bands.astype(np.int64) & 1)
        return np.asarray((colours[3 * capsule + choice] * lit[:, None]).astype(np.uint8))


def _doubled(picture: Picture, step: NDArray[np.int64]) -> Picture:
    """The average of the picture and its copy moved by `step` (x, y) px, cropped to where both are known."""
    height, width = picture.shape[:2]
    x, y = (int(value) for value in step)
    rows, columns = height - abs(y), width - abs(x)
    first = picture[max(y, 0) : max(y, 0) + rows, max(x, 0) : max(x, 0) + columns]
    second = picture[max(-y, 0) : max(-y, 0) + rows, max(-x, 0) : max(-x, 0) + columns]
    return np.asarray(cv2.addWeighted(first, 0.5, second, 0.5, 0), np.uint8)


def _sub_pixel_shifts(count: int) -> Array:
    """(n,2) px: a low-discrepancy (Kronecker) sequence with mean zero, which smooths edges for nothing."""
    steps = np.arange(1, count + 1)[:, None] * np.array([0.7548776662466927, 0.5698402909980532])
    shifts = steps % 1
    return np.asarray(shifts - shifts.mean(axis=0))


def _surface(geometry: Geometry, moment: int, depth: NDArray[np.float32], shift: Array) -> Surface:
    return nearest_surface(
        geometry.ends[moment] + shift,
        geometry.radii[moment],
        geometry.depth[moment],
        geometry.metres,
        depth_buffer=depth,
    )


def _darken(picture: Picture, centre: Array, half: Array) -> None:
    height, width = picture.shape[:2]
    low, size = np.round(centre - half).astype(int), np.maximum(np.round(2 * half).astype(int), 2)
    first, last = np.maximum(low, 0), np.minimum(low + size, [width, height])
    if (last <= first).any() or size.max() > 4 * width:
        return
    blob = cv2.resize(_BLOB, (int(size[0]), int(size[1])))[
        first[1] - low[1] : last[1] - low[1], first[0] - low[0] : last[0] - low[0]
    ]
    patch = picture[first[1] : last[1], first[0] : last[0]]
    patch[...] = patch * blob[..., None]


def _slab_patch(
    geometry: Geometry, moment: int, index: int, depth: NDArray[np.float32], shift: Array
) -> tuple[slice, slice, NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]] | None:
    """Rows, columns, mask of the slab's visible pixels and its own coordinates in [0, 1] over that rectangle."""
    height, width = depth.shape
    far = geometry.slab_depth[moment, index]
    corners = geometry.slabs[moment, index] + shift
    low = np.clip(np.ceil(corners.min(axis=0)), 0, [width, height]).astype(int)
    high = np.clip(np.floor(corners.max(axis=0)) + 1, 0, [width, height]).astype(int)
    right, down = corners[1] - corners[0], corners[2] - corners[0]
    area = right[0] * down[1] - right[1] * down[0]
    if far < 0.2 or (high <= low).any() or abs(area) < 1e-6:
        return None
    x = (np.arange(low[0], high[0]) - corners[0, 0]).astype(np.float32)
    y = (np.arange(low[1], high[1]) - corners[0, 1]).astype(np.float32)[:, None]
    u = x * np.float32(down[1] / area) - y * np.float32(down[0] / area)
    v = y * np.float32(right[0] / area) - x * np.float32(right[1] / area)
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    mask = (u >= 0) & (u < 1) & (v >= 0) & (v < 1) & (depth[rows, columns] > far)
    return rows, columns, mask, u, v


def _slab_colours(
    colours: Array,
    stripes: float,
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    rounded: bool,
) -> Picture:
    u, v = u[mask], v[mask]
    light = 0.5 + 0.5 * np.sqrt(np.maximum(1 - (2 * u - 1) ** 2, 0)) if rounded else 1.0 - 0.25 * v
    band = (
        (np.floor((v if rounded else u) * stripes * (2 if rounded else 1)).astype(int) & 1)
        if stripes
        else np.zeros(len(u), int)
    )
    return np.asarray((colours.astype(np.float32)[band] * light[:, None]).astype(np.uint8))
