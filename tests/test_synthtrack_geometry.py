"""synthtrack's bodies, motions, camera and rasteriser against hand arithmetic and brute force."""

import dataclasses

import numpy as np
import pytest

from harness.datasets.synthtrack import PRESETS
from harness.datasets.synthtrack.background import canvas_centre
from harness.datasets.synthtrack.body import POINTS, draw_body, pose_points
from harness.datasets.synthtrack.camera import Camera, homography
from harness.datasets.synthtrack.degrade import Degradation, degrade
from harness.datasets.synthtrack.generate import scene_of
from harness.datasets.synthtrack.geometry import project_scene
from harness.datasets.synthtrack.motion import ANGLES, FREQUENCIES, _gait, draw_motion, evaluate
from harness.datasets.synthtrack.presets import difficulty_of
from harness.datasets.synthtrack.raster import nearest_surface
from harness.datasets.synthtrack.render import Renderer
from harness.datasets.synthtrack.scene import _draw_places, _safe_path


def still_pose(**angles):
    pose = {name: np.zeros(1) for name in (*ANGLES, "hop", "forward")}
    return pose | {name: np.array([float(value)]) for name, value in angles.items()}


def posed(**angles):
    body = draw_body(np.random.default_rng(3))
    return body, pose_points(body, still_pose(**angles), heading=0.0, root=np.zeros((1, 2)))[0]


def test_a_standing_body_has_its_stature_and_its_left_on_the_left():
    body, points = posed()
    assert points[POINTS["head_top"], 2] == pytest.approx(body.stature, rel=0.08)
    assert points[POINTS["left_wrist"], 1] > 0 > points[POINTS["right_wrist"], 1]
    assert points[POINTS["nose"], 0] > 0
    head = points[POINTS["head_top"]] - points[POINTS["head_bottom"]]
    assert np.linalg.norm(head) == pytest.approx(body.head)


@pytest.mark.parametrize(
    ("angle", "joint", "axis", "sign"),
    [
        ("left_shoulder_flexion", "left_wrist", 0, 1),
        ("left_shoulder_abduction", "left_wrist", 1, 1),
        ("right_shoulder_abduction", "right_wrist", 1, -1),
        ("left_elbow", "left_wrist", 0, 1),
        ("right_hip_flexion", "right_knee", 0, 1),
        ("right_knee", "right_ankle", 0, -1),
        ("lean", "head_top", 0, 1),
    ],
)
def test_a_positive_angle_moves_the_joint_the_named_way(angle, joint, axis, sign):
    _, straight = posed()
    _, bent = posed(**{angle: 40})
    assert sign * (bent - straight)[POINTS[joint], axis] > 0.05


@pytest.mark.parametrize("pitch", [0, 60, 90, -80])
def test_whatever_is_lowest_touches_the_ground(pitch):
    _, points = posed(pitch=pitch)
    assert -1e-9 < points[:, 2].min() < 0.12


def test_gait_passes_the_published_key_values():
    phase = np.arange(10) / 10
    hip, knee = _gait(phase, running=False)
    assert np.abs(hip - [20, 16, 10, 3, -4, -10, -7, 10, 21, 23]).max() < 3
    assert np.abs(knee - [4, 15, 17, 11, 7, 13, 35, 62, 52, 18]).max() < 4
    hip, knee = _gait(phase, running=True)
    assert np.abs(hip - [35, 28, 8, -8, -10, 0, 22, 42, 52, 45]).max() < 4
    assert np.abs(knee - [18, 38, 38, 22, 18, 45, 85, 100, 75, 32]).max() < 4


@pytest.mark.parametrize("kind", sorted(FREQUENCIES))
def test_every_motion_is_a_continuous_function_of_time(kind):
    motion = draw_motion(np.random.default_rng(1), kind)
    times = np.linspace(0, 3, 6001)
    pose = evaluate(motion, times)
    at_once = evaluate(motion, times[[700]])
    for name in ANGLES:
        assert np.abs(np.diff(pose[name])).max() < 4.0, name
        assert pose[name][700] == pytest.approx(at_once[name][0])
    assert max(np.ptp(pose[name]) for name in ANGLES) > 1


def camera(**changes):
    values = {
        "width": 64, "height": 48, "focal": 80.0, "position": np.array([0, 0, 1.5]), "yaw": 0.1, "pitch": -0.05,
        "pan": (0.1, 0.3, 0.2), "shake": np.random.default_rng(0).normal(0, 0.004, (40, 2)), "rate": 25.0, "zoom": 0.2,
        "duration": 1.0, "target": np.zeros(4), "follow": 0.0,
    }  # fmt: skip
    return Camera(**(values | changes))


def test_a_point_at_the_centre_of_view_projects_to_the_centre_of_the_picture():
    view = camera(pan=(0.0, 0.1, 0.0), shake=np.zeros((40, 2))).view(np.array([0.5]))
    ahead = view.position + 3 * view.axes[:, 2]
    pixel, depth = view.project(ahead[:, None])
    assert pixel[0, 0] == pytest.approx([31.5, 23.5])
    assert depth[0, 0] == pytest.approx(3)


def test_left_is_left_and_up_is_up():
    view = camera().reference()
    ahead = view.position + 3 * view.axes[0, 2]
    pixels, _ = view.project(np.stack([ahead, ahead + np.array([0, 0.5, 0]), ahead + np.array([0, 0, 0.5])])[None])
    assert pixels[0, 1, 0] < pixels[0, 0, 0]
    assert pixels[0, 2, 1] < pixels[0, 0, 1]


def test_the_background_moves_exactly_as_the_world_does():
    moving = camera()
    times = np.array([0.1, 0.5, 0.9])
    view, reference = moving.view(times), moving.reference()
    centre = canvas_centre((64, 48))
    points = view.position + np.array([[5.0, 0.3, 0.2], [6.0, -0.4, -0.5], [4.0, 0.1, 0.4]])
    still, _ = reference.project(points[None])
    canvas = np.concatenate([still[0] - reference.centre + centre, np.ones((3, 1))], axis=1)
    maps = homography(view, reference, canvas_centre=centre, shift=np.zeros((3, 2)))
    moved = canvas @ maps.transpose(0, 2, 1)
    expected, _ = view.project(np.broadcast_to(points, (3, 3, 3)))
    assert np.abs(moved[..., :2] / moved[..., 2:] - expected).max() < 1e-9


def brute_force(ends, radii, depth, metres, size):
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    nearest, owner = np.full(size, np.inf), np.full(size, -1)
    for index, ((a, b), radius, z, metre) in enumerate(zip(ends, radii, depth, metres, strict=True)):
        axis = b - a
        t = np.clip(((x - a[0]) * axis[0] + (y - a[1]) * axis[1]) / max(axis @ axis, 1e-6), 0, 1)
        r = radius[0] + t * (radius[1] - radius[0])
        q = ((x - a[0] - t * axis[0]) ** 2 + (y - a[1] - t * axis[1]) ** 2) / r**2
        bulge = np.sqrt(np.maximum(1 - q, 0)) * (metre[0] + t * (metre[1] - metre[0]))
        surface = np.where(q < 1, z[0] + t * (z[1] - z[0]) - bulge, np.inf)
        owner[surface < nearest] = index
        nearest = np.minimum(nearest, surface)
    return owner, nearest


def test_the_rasteriser_equals_brute_force():
    generator = np.random.default_rng(7)
    count, size = 60, (50, 70)
    ends = generator.uniform(-10, 80, (count, 2, 2))
    ends[:5, 1] = ends[:5, 0]
    ends[5:10, 1, 0] = ends[5:10, 0, 0]
    ends[10:15, 1, 1] = ends[10:15, 0, 1]
    radii = generator.uniform(1, 9, (count, 2))
    depth, metres = generator.uniform(2, 9, (count, 2)), generator.uniform(0.05, 0.5, (count, 2))
    # A capsule that is a point has no two ends to tell apart.
    for values in (radii, depth, metres):
        values[:5, 1] = values[:5, 0]
    buffer = np.full(size, 1e9, np.float32)
    surface = nearest_surface(ends, radii, depth, metres, depth_buffer=buffer)
    owner = np.full(size, -1)
    owner.reshape(-1)[surface.pixel] = surface.capsule
    expected, nearest = brute_force(ends, radii, depth, metres, size)
    assert (owner != expected).mean() < 0.003
    same = (owner == expected) & (owner >= 0)
    assert same.sum() > 1000
    assert np.abs(buffer - nearest)[same].max() < 1e-3


def test_a_sphere_has_the_area_and_depth_of_a_sphere():
    buffer = np.full((41, 41), 1e9, np.float32)
    centre = np.full((1, 2, 2), 20.0)
    surface = nearest_surface(
        centre, np.full((1, 2), 10.0), np.full((1, 2), 5.0), np.full((1, 2), 0.2), depth_buffer=buffer
    )
    assert len(surface.pixel) == pytest.approx(np.pi * 100, rel=0.03)
    assert buffer[20, 20] == pytest.approx(4.8)
    assert buffer[20, 28] == pytest.approx(5 - 0.2 * 0.6, abs=1e-4)


def test_noise_depends_on_seed_and_frame_only():
    grey = np.full((20, 30, 3), 128, np.uint8)
    fault = Degradation(np.ones(3), 0.0, 1.0, 4.0, 90)
    frames = [degrade(grey, fault, seed=1, frame=frame) for frame in (0, 1, 0)]
    assert (frames[0] == frames[2]).all()
    assert (frames[0] != frames[1]).any()
    noise = degrade(np.full((200, 300, 3), 128, np.uint8), fault, seed=2, frame=0).astype(float) - 128
    assert noise.std() == pytest.approx(4, rel=0.05)
    assert abs(noise.mean()) < 0.1


def test_only_who_stands_before_the_camera_throws_a_shadow():
    scene = scene_of(PRESETS["smoke"], "train", 0)
    ahead = dataclasses.replace(scene.people[0], path=np.array([12.0, 0, 0, 0]))
    behind = dataclasses.replace(ahead, path=np.array([-12.0, 0, 0, 0]))

    def shaded(*people):
        drawn = dataclasses.replace(scene, people=people)
        picture = np.full((scene.size[1], scene.size[0], 3), 200, np.uint8)
        Renderer(drawn)._shadows(picture, project_scene(drawn, drawn.label_times), 0)
        return picture

    assert (shaded(behind) == 200).all()
    assert (shaded(ahead) < 200).any()
    np.testing.assert_array_equal(shaded(ahead, behind), shaded(ahead))


def test_people_stand_apart_and_who_finds_no_place_is_left_out():
    alone = dataclasses.replace(difficulty_of("train"), near=0.0, spread=0.0)
    places = _draw_places(np.random.default_rng(0), 30, size=(384, 216), focal=300.0, difficulty=alone)
    apart = [np.linalg.norm(one - other) for number, one in enumerate(places) for other in places[:number]]
    assert 1 < len(places) < 30 and min(apart) >= 0.42


def test_who_would_walk_into_the_camera_stays_where_he_is():
    """At 2 m/s over 1 s he is 1 m nearer and 1 m farther at the ends: 3 m leaves 2, 2 m would leave 1."""
    assert _safe_path(np.array([3.0, 0.5]), 0.0, 2.0, 1.0).tolist() == [3.0, 0.5, 2.0, 0.0]
    assert _safe_path(np.array([2.0, 0.5]), 0.0, 2.0, 1.0).tolist() == [2.0, 0.5, 0.0, 0.0]
