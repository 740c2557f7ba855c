"""The body that is lifted: the 15 joints of PoseTrack17 and, midway between the hips, the pelvis they are told from.

Human3.6M has 17 joints and 16 bones; ours has no spine and no thorax, the pelvis is no joint of its own, and one bone
joins the hips: 14 in all. What follows from joints (...,15,D) linearly stands here as a matrix to multiply them with.
"""

from __future__ import annotations

import numpy as np

from harness.scoring.bones import shift_pairs
from harness.skeletons import POSETRACK15, Skeleton

__all__ = ["BODY", "BONES", "BONE_OF", "JOINT_OF", "POINT_OF", "ROOTED", "SHIFT_OF"]

_LIMBS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))

#: The joints with the pelvis after them, and the bones.
BODY = Skeleton(
    "lifted",
    (*POSETRACK15.names, "pelvis"),
    (
        ("right_hip", "left_hip"), ("pelvis", "head_bottom"), ("head_bottom", "nose"), ("head_bottom", "head_top"),
        *(("head_bottom", f"{side}_shoulder") for side in ("left", "right")),
        *((f"{side}_{first}", f"{side}_{second}") for side in ("left", "right") for first, second in _LIMBS),
    ),
)  # fmt: skip

#: The bones as indices (from, to) into `BODY`.
BONES = tuple((BODY.index(first), BODY.index(second)) for first, second in BODY.bones)

#: (16,15) joints -> the points of `BODY`.
POINT_OF = np.vstack([np.eye(15), [name.endswith("hip") / 2 for name in POSETRACK15.names]])

#: (15,15) joints -> joints from the pelvis.
ROOTED = np.eye(15) - POINT_OF[-1]

#: (bones,15) joints -> bones.
BONE_OF = np.stack([POINT_OF[second] - POINT_OF[first] for first, second in BONES])

#: (15,bones) bones -> joints from the pelvis, the bones laid end to end: the 14 bones tell all but the place.
JOINT_OF = ROOTED @ np.linalg.pinv(BONE_OF)

#: (shifts,15) joints -> vectors between the points of `BODY` that no bone joins, each to itself included.
SHIFT_OF = np.stack([POINT_OF[second] - POINT_OF[first] for first, second in shift_pairs(len(BODY), BONES)])
