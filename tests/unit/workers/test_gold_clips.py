"""A worker makes gold pairs: a clip, and a damaged copy that only its sound tells apart."""

import numpy as np
import pytest
import soundfile

from attune.catalog.damage_services import DamageOrder
from attune.catalog.errors import ClipOrderError
from attune.catalog.models import Clip, ClipStatus, Damage, Population
from attune.catalog.score_services import unscored_clips
from attune.catalog.storage import media_file
from attune.jobs.models import Job
from attune.ratings.choices import PairPurpose
from attune.ratings.models import Pair
from attune.ratings.services import create_study, request_pairs
from tests.integration.scene import add_test_prompts, add_tiny_checkpoint
from workers.claims import carry_out, new_owner
from workers.damage import log_spectral_distance_db

pytestmark = pytest.mark.django_db


def request_gold(n_pairs: int = 1, seed: int = 1) -> list[Pair]:
    checkpoint = add_tiny_checkpoint()
    study = create_study(
        slug=f"gold-{seed}",
        name="Gold",
        population=Population.REHEARSAL,
        prompt_set=add_test_prompts(),
        clip_duration_s=1.0,
        minimum_listening_s=0.0,
    )
    return request_pairs(
        study=study,
        n_pairs=n_pairs,
        purpose=PairPurpose.GOLD,
        rng=np.random.default_rng(seed),
        checkpoints=[checkpoint],
    )


def work() -> int:
    return carry_out("gpu", new_owner())


def test_a_gold_pair_is_a_clip_and_its_damaged_copy() -> None:
    pairs = request_gold(n_pairs=8)
    assert Job.objects.count() == 1, "the job that makes a clip makes its copy"
    work()
    for pair in Pair.objects.select_related("first_clip", "second_clip"):
        whole, copy = pair.first_clip, pair.second_clip
        assert (pair.is_ready, copy.status, whole.damage) == (True, ClipStatus.READY, "")
        assert copy.damaged_from == whole
        assert (copy.codes_path, copy.header) == ("", whole.header)
        sounds = [soundfile.read(media_file(clip.audio_path))[0] for clip in (whole, copy)]
        assert log_spectral_distance_db(sounds[0], sounds[1]) > 4.0
    assert len(pairs) == 8
    assert len({pair.second_clip.damage for pair in pairs}) >= 3


def test_nothing_but_the_sound_tells_the_copy_from_the_clip() -> None:
    request_gold(n_pairs=8)
    work()
    for pair in Pair.objects.select_related("first_clip", "second_clip"):
        whole, copy = pair.first_clip, pair.second_clip
        files = [media_file(clip.audio_path).read_bytes() for clip in (whole, copy)]
        assert len(files[0]) == len(files[1])
        assert files[0][:44] == files[1][:44], "headers of the same format and length"
        assert files[0] != files[1]
        for field in ("duration_s", "sample_rate_hz", "peaks"):
            assert getattr(whole, field) == getattr(copy, field)
        assert whole.loudness_lufs is not None and copy.loudness_lufs is not None
        assert copy.loudness_lufs == pytest.approx(whole.loudness_lufs, abs=0.3)


def test_a_second_attempt_makes_the_copy_of_a_clip_that_is_ready() -> None:
    (pair,) = request_gold()
    work()
    made = Clip.objects.get(pk=pair.second_clip_id)
    whole = Clip.objects.get(pk=pair.first_clip_id)
    Clip.objects.filter(pk=made.pk).update(
        status=ClipStatus.GENERATING, audio_path="", audio_sha256=""
    )
    Job.objects.update(state="queued", owner="", attempts=0, finished_at=None)
    work()
    again = Clip.objects.get(pk=made.pk)
    assert (again.status, again.audio_sha256) == (ClipStatus.READY, made.audio_sha256)
    assert Clip.objects.get(pk=whole.pk).ready_at == whole.ready_at


def test_the_copy_of_a_clip_that_failed_fails_and_the_pair_is_withdrawn() -> None:
    (pair,) = request_gold()
    Clip.objects.filter(pk=pair.first_clip_id).update(requested_duration_s=0.5)
    work()
    copy = Clip.objects.get(pk=pair.second_clip_id)
    assert copy.status == ClipStatus.FAILED
    assert "was not made" in copy.error
    pair.refresh_from_db()
    assert (pair.is_ready, pair.is_withdrawn) == (False, True)


def test_no_reward_model_scores_a_damaged_copy() -> None:
    (pair,) = request_gold()
    work()
    found = unscored_clips(checkpoint=pair.first_checkpoint, arguments={})
    assert found == [Clip.objects.get(pk=pair.first_clip_id)]


def test_a_copy_is_asked_for_before_its_clip_is_made() -> None:
    (pair,) = request_gold()
    work()
    clip = Clip.objects.get(pk=pair.first_clip_id)
    with pytest.raises(ClipOrderError, match="is ready: a damaged copy is asked for together"):
        DamageOrder(original=clip, damage=Damage.NOISE, seed=1)
