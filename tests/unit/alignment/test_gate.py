"""The gate's figures, each on clips made so that the answer can be worked out by hand."""

import numpy as np
import pytest

from alignment.errors import AlignmentError
from alignment.gate import (
    clipping_share,
    code_diversity,
    duration_error_s,
    finite_share,
    level_dbfs,
    regenerated_share,
    relative_diversity,
    silence_share,
)
from generator.synthesis import GeneratedClip


def clip(samples: list[float], codes: list[list[int]] | None = None) -> GeneratedClip:
    """Returns a clip at 10 samples a second."""
    return GeneratedClip(
        codes=np.array(codes or [[0]], dtype=np.int16),
        waveform=np.array(samples, dtype=np.float32),
        sample_rate_hz=10,
        header=(),
        unknown_words=(),
        seed=0,
        duration_s=len(samples) / 10,
    )


def test_a_clip_with_one_bad_sample_is_not_finite() -> None:
    clips = [clip([0.1, 0.2]), clip([0.1, float("nan")]), clip([float("inf")]), clip([0.0])]
    assert finite_share(clips) == 0.5


def test_silence_is_a_level_below_minus_50_dbfs() -> None:
    assert level_dbfs(np.full(8, 0.1, dtype=np.float32)) == pytest.approx(-20.0, abs=1e-4)
    loud, faint, nothing, empty = clip([0.01, -0.01]), clip([0.003, 0.003]), clip([0.0]), clip([])
    assert silence_share([loud]) == 0.0
    assert silence_share([loud, faint, nothing, empty]) == 0.75
    assert silence_share([clip([float("nan")] * 3)]) == 1.0


def test_clipping_counts_samples_a_16_bit_file_holds_at_its_limits() -> None:
    clips = [clip([1.0, -1.0, 0.999, 0.5]), clip([1.5, 0.0, 0.0, 0.0])]
    assert clipping_share(clips) == 3 / 8
    with pytest.raises(AlignmentError, match="1 clips without any"):
        clipping_share([clip([])])


def test_the_duration_error_is_the_largest_in_either_direction() -> None:
    clips = [clip([0.0] * 10), clip([0.0] * 17)]
    assert duration_error_s(clips, [1.0, 2.0]) == pytest.approx(0.3)
    assert duration_error_s(clips, [0.5, 1.7]) == pytest.approx(0.5)
    with pytest.raises(AlignmentError, match="got 1 for 2"):
        duration_error_s(clips, [1.0])


def test_clips_made_again_count_when_every_code_is_the_same() -> None:
    one, same, other = (clip([0.0], codes) for codes in ([[1, 2]], [[1, 2]], [[1, 3]]))
    longer = clip([0.0], [[1, 2, 2]])
    assert regenerated_share([one, one, one, one], [same, other, longer, same]) == 0.5
    with pytest.raises(AlignmentError, match="expected 1 clips made again, got 2"):
        regenerated_share([one], [same, same])


def test_diversity_is_the_mean_share_of_codes_in_which_clips_of_a_prompt_differ() -> None:
    a, b, c = (
        clip([0.0], codes) for codes in ([[1, 2], [3, 4]], [[1, 2], [3, 5]], [[0, 0], [0, 0]])
    )
    assert code_diversity({"waltz": [a, b]}) == 0.25
    assert code_diversity({"waltz": [a, b, c]}) == pytest.approx((0.25 + 1 + 1) / 3)
    assert code_diversity({"waltz": [a, b], "march": [a, c], "alone": [a]}) == pytest.approx(0.625)
    with pytest.raises(AlignmentError, match="at least two clips"):
        code_diversity({"waltz": [a]})


def test_a_candidate_that_repeats_itself_has_less_diversity_than_its_base() -> None:
    a, b, c = (clip([0.0], codes) for codes in ([[1, 2]], [[3, 4]], [[1, 4]]))
    base = {"waltz": [a, b]}
    assert relative_diversity({"waltz": [a, c]}, base) == 0.5
    assert relative_diversity({"waltz": [a, a]}, base) == 0.0
    with pytest.raises(AlignmentError, match="same prompts, got 1 and 1, 0 of them shared"):
        relative_diversity({"march": [a, c]}, base)
    with pytest.raises(AlignmentError, match="do not differ"):
        relative_diversity({"waltz": [a, c]}, {"waltz": [a, a]})
