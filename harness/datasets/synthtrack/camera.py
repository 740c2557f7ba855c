"""A camera that turns and zooms but never moves, so that a background picture follows it exactly (spec, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Camera", "View", "draw_camera", "homography"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """The camera at T times: `axes` (T,3,3) rows right, down, forward in the world; `focal` (T,) px; `angles` (T,3)."""

    axes: Array
    focal: Array
    angles: Array
    position: Array
    centre: Array

    def project(self, points: Array) -> tuple[Array, Array]:
        """World points (T,K,3) in metres -> pixels (T,K,2) and distances along the optical axis (T,K)."""
        seen = (points - self.position) @ self.axes.transpose(0, 2, 1)
        depth = np.maximum(seen[..., 2], 0.05)
        return seen[..., :2] * (self.focal[:, None] / depth)[..., None] + self.centre, seen[..., 2]

    def camera_points(self, points: Array) -> Array:
        """World points (T,K,3) -> metres right, down and forward of the camera."""
        return (points - self.position) @ self.axes.transpose(0, 2, 1)


@dataclass(frozen=True)
class Camera:
    """Closed functions of time for yaw, pitch, roll and zoom.

    `pan` is (size rad, frequency 1/s, phase); `shake` (samples, 2) white noise at `rate` per second, smoothed by a Hann
    window; `zoom` the logarithm of the zoom over the clip of `duration` s; `follow` the share of a person's bearing
    that the yaw takes over, his path being `target`: place (2,) m in the middle of the clip and velocity (2,) m/s.
    """

    width: int
    height: int
    focal: float
    position: Array
    yaw: float
    pitch: float
    pan: tuple[float, float, float]
    shake: Array
    rate: float
    zoom: float
    duration: float
    target: Array
    follow: float

    @property
    def centre(self) -> Array:
        """The principal point, in px (origin at the centre of the top-left pixel)."""
        return np.array([(self.width - 1) / 2, (self.height - 1) / 2])

    def view(self, times: Array) -> View:
        """The camera at the given times in seconds."""
        size, frequency, phase = self.pan
        yaw = self.yaw + size * (np.sin(2 * np.pi * (frequency * times + phase)) - np.sin(2 * np.pi * phase))
        if self.follow:
            place = self.target[:2] + self.target[2:] * (times - self.duration / 2)[:, None] - self.position[:2]
            yaw = yaw + self.follow * (np.arctan2(place[:, 1], place[:, 0]) - self.yaw)
        jitter = self._shake(times)
        angles = np.stack([yaw + jitter[:, 0], self.pitch + jitter[:, 1], 0.5 * jitter[:, 0]], axis=1)
        focal = self.focal * np.exp(self.zoom * (times / self.duration - 0.5))
        return View(axes_of(angles), focal, angles, self.position, self.centre)

    def reference(self) -> View:
        """The still view from which the background is painted."""
        angles = np.array([[self.yaw, self.pitch, 0.0]])
        return View(axes_of(angles), np.array([self.focal]), angles, self.position, self.centre)

    def _shake(self, times: Array) -> Array:
        if not self.shake.any():
            return np.zeros((len(times), 2))
        away = (times[:, None] * self.rate + 4 - np.arange(len(self.shake))) / 4
        window = np.where(np.abs(away) < 1, 0.5 + 0.5 * np.cos(np.pi * away), 0.0)
        return np.asarray(window @ self.shake / np.sqrt(3.0))


def axes_of(angles: Array) -> Array:
    """(T,3) yaw (left positive), pitch (up positive), roll in rad -> (T,3,3) rows right, down, forward."""
    yaw, pitch, roll = angles.T
    zero = np.zeros_like(yaw)
    forward = np.stack([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)], axis=1)
    right = np.stack([np.sin(yaw), -np.cos(yaw), zero], axis=1)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], axis=1)


def homography(view: View, reference: View, *, canvas_centre: Array, shift: Array) -> Array:
    """(T,3,3) maps from canvas pixels to picture pixels; `shift` (T,2) px moves the picture."""

    def intrinsics(focal: Array, centre: Array) -> Array:
        matrix = np.zeros((len(focal), 3, 3))
        matrix[:, 0, 0] = matrix[:, 1, 1] = focal
        matrix[:, :2, 2] = centre
        matrix[:, 2, 2] = 1
        return matrix

    to_picture = intrinsics(view.focal, view.centre + shift)
    to_canvas = intrinsics(reference.focal, canvas_centre)
    return to_picture @ view.axes @ reference.axes.transpose(0, 2, 1) @ np.linalg.inv(to_canvas)


def draw_camera(
    generator: np.random.Generator, *, size: tuple[int, int], duration: float, rate: float, focal: float, height: float,
    aim: Array, target: Array | None,
) -> Camera:  # fmt: skip
    """Draw pan (40 %), shake (65 %), zoom (30 %) and following (60 % where somebody travels).

    `aim` (3,) is the world point at the centre of the picture, `target` (4,) the travelling person's path.
    """
    choice = generator.random(4)
    pan = 0.12 * generator.normal() * (choice[0] < 0.4)
    frequency, phase = generator.uniform(0.1, 0.4), generator.random()
    shake = (0.0, 0.0012, 0.004)[int(np.searchsorted([0.35, 0.75], choice[1]))]
    noise = generator.normal(0, 1, (int(np.ceil(duration * rate)) + 9, 2))
    zoom = generator.normal(0, 0.12) * (choice[2] < 0.3)
    follow = 0.9 if target is not None and choice[3] < 0.6 else 0.0
    position = np.array([0.0, 0.0, height])
    yaw = float(np.arctan2(aim[1], aim[0]))
    pitch = float(np.arctan2(aim[2] - height, np.hypot(aim[0], aim[1])))
    return Camera(
        *size, focal, position, yaw, pitch, (float(pan), float(frequency), float(phase)), noise * shake * 1.6, rate,
        float(zoom), duration, np.zeros(4) if target is None else target, follow,
    )  # fmt: skip
