"""From where to where a study's settings may be set, wherever people set them."""

from collections.abc import Mapping

from attune.catalog.services import CLIP_DURATIONS_S

STUDY_LIMITS: Mapping[str, tuple[float, float]] = {
    "clip_duration_s": CLIP_DURATIONS_S,
    "minimum_listening_s": (0, 30),
    "break_after_min": (0, 600),
    "n_practice": (0, 3),
    "overlap": (1, 100),
    "pairs_per_session": (1, 1000),
    "assignment_lease_s": (10, 86_400),
    "pool_target": (0, 1000),
    "judging_share": (0, 1),
    "gold_share": (0, 0.4),
    "repeat_share": (0, 0.4),
}
