"""Films and live pictures: where the sound comes from, frame by frame, in bounded memory.

looking     frames, numbered and squeezed in a thread of their own
hearing     windows of sound, each heard once
smoothing   the mean over neighbouring frames of a shot
tracks      boxes that keep their number
engine      all of it, one generator on the other: `stream`
"""

from soundspot.streaming.engine import HOP, SMOOTH, WINDOW, stream
from soundspot.streaming.moments import Moment, TrackedBox
from soundspot.streaming.tracks import Tracks

__all__ = ["HOP", "SMOOTH", "WINDOW", "Moment", "TrackedBox", "Tracks", "stream"]
