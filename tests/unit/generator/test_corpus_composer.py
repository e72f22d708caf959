"""What every composed clip keeps: scale, grid, length, density, drums, and the last chord."""

import random
from dataclasses import replace
from statistics import mean

import pytest

from generator.corpus.accompaniment import drum_hits, lead_voices
from generator.corpus.attributes import STYLES, Attributes, draw_attributes, draw_duration_s
from generator.corpus.composer import compose, rhythm_cells
from generator.corpus.score import MAJOR_SCALE, MINOR_SCALE, Note, Part, Score, piano_roll
from generator.errors import RequestError


def composed(n: int) -> list[tuple[Attributes, float, Score]]:
    clips = []
    for index in range(n):
        rng = random.Random(index)
        attributes = draw_attributes(rng)
        duration_s = draw_duration_s(attributes, rng)
        clips.append((attributes, duration_s, compose(attributes, duration_s, rng)))
    return clips


CLIPS = composed(200)


def test_every_note_is_in_the_scale() -> None:
    for attributes, _, score in CLIPS:
        scale = MAJOR_SCALE if attributes.mode == "major" else MINOR_SCALE
        for note in score.notes:
            if note.part is not Part.DRUMS:
                assert (note.key - attributes.root) % 12 in scale, (attributes, note)


def test_every_clip_lasts_as_long_as_asked_and_its_notes_end_inside() -> None:
    for _, duration_s, score in CLIPS:
        assert score.n_frames == round(25 * duration_s)
        assert max(note.end for note in score.notes) <= score.n_frames
        assert min(note.onset for note in score.notes) == 0


def test_onsets_lie_on_the_beat_or_a_part_of_it() -> None:
    for attributes, _, score in CLIPS:
        beat = attributes.frames_per_beat
        allowed = {round(part * beat) for part in (0, 0.25, 0.5, 0.75)}
        if attributes.swing:
            allowed = {0, round(2 * beat / 3)}
        assert {note.onset % beat for note in score.notes} <= allowed, attributes


def test_the_last_chord_is_the_tonic_in_every_pitched_part() -> None:
    for attributes, _, score in CLIPS:
        scale = MAJOR_SCALE if attributes.mode == "major" else MINOR_SCALE
        triad = {(attributes.root + scale[i]) % 12 for i in (0, 2, 4)}
        onset = max(note.onset for note in score.notes)
        last = [note for note in score.notes if note.onset == onset]
        assert {n.key % 12 for n in last if n.part is Part.CHORDS} == triad
        for part in (Part.LEAD, Part.BASS):
            assert [n.key % 12 for n in last if n.part is part] == [attributes.root % 12]


def test_a_part_never_stays_silent_until_the_end() -> None:
    for _, _, score in CLIPS:
        assert score.n_frames - max(note.end for note in score.notes) == 6


def test_dense_clips_have_far_more_onsets_than_sparse_ones_at_every_tempo() -> None:
    for tempo in ("slow", "medium", "fast"):
        rates = {
            density: mean(
                len({note.onset for note in score.notes}) / duration_s
                for attributes, duration_s, score in CLIPS
                if (attributes.tempo, attributes.density) == (tempo, density)
            )
            for density in ("sparse", "dense")
        }
        assert rates["dense"] > 2.2 * rates["sparse"], (tempo, rates)


def test_drums_play_only_when_asked_and_driving_ones_hit_harder() -> None:
    loudest: dict[str, int] = {}
    for attributes, _, score in CLIPS:
        drums = [note.velocity for note in score.notes if note.part is Part.DRUMS]
        assert bool(drums) == (attributes.drums != "none")
        if drums:
            loudest[attributes.drums] = max(loudest.get(attributes.drums, 0), *drums)
    assert loudest["driving"] > loudest["soft"]
    assert drum_hits(4, "none", "dense") == ()


def test_five_seconds_hold_music_and_a_last_chord_at_every_tempo() -> None:
    for attributes, _, _ in CLIPS:
        score = compose(attributes, 5.0, random.Random(0))
        lead = [note for note in score.notes if note.part is Part.LEAD]
        assert len({note.onset for note in lead}) >= 2


def test_the_same_seed_writes_the_same_notes() -> None:
    attributes = CLIPS[0][0]
    first = compose(attributes, 8.0, random.Random(4))
    assert first == compose(attributes, 8.0, random.Random(4))
    assert first != compose(attributes, 8.0, random.Random(5))


def test_bars_of_rhythm_are_full() -> None:
    for attributes, _, _ in CLIPS:
        for cell in rhythm_cells(attributes):
            assert sum(cell) == STYLES[attributes.style].beats_per_bar


def test_chords_move_to_the_nearest_voicing() -> None:
    """From C major, A minor keeps two keys and moves one by two semitones."""
    assert lead_voices([9, 0, 4], [60, 64, 67]) == [57, 60, 64]


@pytest.mark.parametrize("duration_s", [0.0, 2.9, 31.0])
def test_lengths_that_hold_no_music_are_refused(duration_s: float) -> None:
    with pytest.raises(RequestError, match=f"3.0 to 30.0, got {duration_s}"):
        compose(CLIPS[0][0], duration_s, random.Random(0))


def test_a_note_must_end_after_it_starts() -> None:
    with pytest.raises(RequestError, match="got 4 to 4"):
        Note(4, 4, Part.LEAD, 60, 90)


def test_the_roll_shows_keys_while_they_sound_and_onsets_once() -> None:
    notes = [Note(1, 4, Part.LEAD, 45, 90), Note(0, 2, Part.DRUMS, 36, 90)]
    roll = piano_roll(notes, 5)
    assert roll.shape == (108, 5)
    assert roll[0].tolist() == [0, 1, 1, 1, 0]
    assert roll[107].tolist() == [0, 1, 0, 0, 0]
    assert roll[104].tolist() == [1, 1, 0, 0, 0]
    assert roll.sum() == 6


def test_a_clip_of_another_density_differs_only_in_its_notes() -> None:
    attributes = replace(CLIPS[0][0], density="sparse")
    dense = replace(attributes, density="dense")
    sparse_score = compose(attributes, 9.0, random.Random(1))
    dense_score = compose(dense, 9.0, random.Random(1))
    assert len(dense_score.notes) > len(sparse_score.notes)
    assert dense_score.n_frames == sparse_score.n_frames
