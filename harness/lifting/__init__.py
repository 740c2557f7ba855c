"""Lifting, an optional recipe: joints in space from joints in the picture, learned and judged on synthtrack.

PoseTrack has no joints in space: nothing of this enters its tables, records or leaderboards. Anatomy-aware lifting
(bone lengths of the track, bone directions of the frame) stands beside a plain network and the mean pose.
"""
