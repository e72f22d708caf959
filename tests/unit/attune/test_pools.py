"""Pairs are requested for prompts in turn, become ready with their clips, and fill a pool."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from attune.catalog.models import (
    Checkpoint,
    Clip,
    ClipStatus,
    Population,
    RotationEntry,
    RotationRole,
)
from attune.catalog.services import enter_rotation
from attune.jobs.models import Job
from attune.raters.services import create_rater
from attune.ratings.choices import PairPurpose
from attune.ratings.errors import PairingError
from attune.ratings.models import Pair, Study
from attune.ratings.selectors import study_counts
from attune.ratings.services import (
    assign_pair,
    close_study,
    fill_pool,
    mark_ready_pairs,
    request_pairs,
)
from tests.factories import NOW, make_anchor, make_checkpoint, make_pair, make_prompts, make_study

pytestmark = pytest.mark.django_db


def request(study: Study, n: int = 4, purpose: str = "training", **fields: object) -> list[Pair]:
    return request_pairs(
        study=study,
        n_pairs=n,
        purpose=purpose,
        rng=random.Random(1),
        **fields,  # type: ignore[arg-type]
    )


def make_canary(share: float = 0.1) -> Checkpoint:
    checkpoint = make_checkpoint()
    enter_rotation(
        checkpoint=checkpoint,
        population=Population.PEOPLE,
        role=RotationRole.CANARY,
        share=share,
        reason="passed the gate",
    )
    return checkpoint


def make_ready(*clips: Clip) -> None:
    Clip.objects.filter(pk__in=[clip.pk for clip in clips]).update(
        status=ClipStatus.READY,
        codes_path="c",
        codes_sha256="c",
        audio_path="a",
        audio_sha256="a",
        duration_s=2,
        sample_rate_hz=16_000,
        gain_db=0,
    )


class TestRequests:
    def test_a_training_pair_is_two_seeds_of_one_checkpoint_in_rotation(self) -> None:
        anchor, study = make_anchor(), make_study()
        for pair in request(study):
            first, second = pair.first_clip, pair.second_clip
            assert first.checkpoint == second.checkpoint == anchor
            assert first.seed != second.seed
            assert first.prompt == second.prompt == pair.prompt
            assert (first.requested_duration_s, pair.is_ready) == (2.0, False)

    def test_training_pairs_are_drawn_from_rotation_by_share(self) -> None:
        anchor, canary, study = make_anchor(), make_canary(0.3), make_study()
        counts = Counter(pair.first_checkpoint for pair in request(study, 200))
        assert counts[canary] / 200 == pytest.approx(0.3, abs=0.1)
        assert counts[anchor] + counts[canary] == 200

    def test_the_given_checkpoint_is_used_though_it_is_not_in_rotation(self) -> None:
        checkpoint = make_checkpoint()
        pairs = request(make_study(), checkpoints=[checkpoint])
        assert {pair.second_checkpoint for pair in pairs} == {checkpoint}

    def test_a_judging_pair_sets_the_canary_against_another(self) -> None:
        anchor, canary = make_anchor(), make_canary()
        for pair in request(make_study(), purpose="judging"):
            assert {pair.first_checkpoint, pair.second_checkpoint} == {anchor, canary}
            assert pair.purpose == PairPurpose.JUDGING

    def test_judging_uses_the_two_given_checkpoints(self) -> None:
        both = [make_checkpoint(), make_checkpoint()]
        [pair] = request(make_study(), 1, "judging", checkpoints=both)
        assert [pair.first_checkpoint, pair.second_checkpoint] == both

    def test_prompts_take_turns_over_several_requests(self) -> None:
        make_anchor()
        study = make_study(prompt_set=make_prompts(3))
        request(study, 2)
        request(study, 4)
        used = Counter(Pair.objects.values_list("prompt", flat=True))
        assert list(used.values()) == [2, 2, 2]

    @pytest.mark.parametrize(
        ("held_out", "expected"), [(None, False), (False, False), (True, True)]
    )
    def test_held_out_prompts_come_only_when_asked_for(
        self, held_out: bool | None, expected: bool
    ) -> None:
        make_anchor()
        study = make_study(prompt_set=make_prompts(2, n_held_out=2))
        pairs = request(study, held_out=held_out)
        assert {pair.prompt.is_held_out for pair in pairs} == {expected}

    def test_what_cannot_be_paired_says_why(self) -> None:
        study, checkpoint = make_study(), make_checkpoint()
        with pytest.raises(PairingError, match="which has 0"):
            request(study)
        make_anchor()
        with pytest.raises(PairingError, match=r"need 2 checkpoint.*which has 1"):
            request(study, purpose="judging")
        with pytest.raises(PairingError, match="need 2 different"):
            request(study, purpose="judging", checkpoints=[checkpoint, checkpoint])
        with pytest.raises(PairingError, match="no active held-out prompt"):
            request(study, held_out=True)
        with pytest.raises(PairingError, match="0 pairs"):
            request(study, 0)
        with pytest.raises(PairingError, match="gold pairs cannot be requested"):
            request(study, purpose="gold")
        assert not Pair.objects.exists()
        assert not Job.objects.exists()

    def test_the_rotation_of_the_studys_own_population_is_used(self) -> None:
        make_anchor(population=Population.REHEARSAL)
        with pytest.raises(PairingError, match="in rotation for people"):
            request(make_study())
        assert request(make_study(population=Population.REHEARSAL))


class TestReadiness:
    def test_a_pair_is_ready_with_its_second_clip(self) -> None:
        make_anchor()
        [pair] = request(make_study(), 1)
        make_ready(pair.first_clip)
        assert mark_ready_pairs(clips=[pair.first_clip]) == 0
        make_ready(pair.second_clip)
        assert mark_ready_pairs(clips=[pair.second_clip]) == 1
        assert mark_ready_pairs(clips=[pair.second_clip]) == 0
        pair.refresh_from_db()
        assert (pair.is_ready, pair.is_withdrawn) == (True, False)

    def test_a_pair_with_a_failed_clip_is_withdrawn(self) -> None:
        make_anchor()
        pair, other = request(make_study(), 2)
        Clip.objects.filter(pk=pair.second_clip_id).update(status=ClipStatus.FAILED)
        assert mark_ready_pairs(clips=[pair.second_clip]) == 0
        pair.refresh_from_db()
        other.refresh_from_db()
        assert (pair.is_ready, pair.is_withdrawn, other.is_withdrawn) == (False, True, False)


class TestPools:
    def fill(self, study: Study, seed: int = 1) -> int:
        return fill_pool(study=study, rng=random.Random(seed))

    def test_a_pool_is_filled_once_and_topped_up_as_pairs_are_taken(self) -> None:
        make_anchor()
        study = make_study(pool_target=5)
        assert (self.fill(study), self.fill(study)) == (5, 0)
        pairs = list(Pair.objects.order_by("pk"))
        Pair.objects.filter(pk=pairs[0].pk).update(n_ratings=1)
        Pair.objects.filter(pk=pairs[1].pk).update(is_withdrawn=True)
        Pair.objects.filter(pk=pairs[2].pk).update(is_ready=True)
        rng = random.Random(1)
        assert assign_pair(study=study, rater=create_rater(), rng=rng, now=NOW)
        assert (self.fill(study), self.fill(study)) == (3, 0)

    def test_with_one_checkpoint_every_pair_trains(self) -> None:
        make_anchor()
        study = make_study(pool_target=20, judging_share=1.0)
        self.fill(study)
        assert set(Pair.objects.values_list("purpose", flat=True)) == {PairPurpose.TRAINING}

    def test_with_two_checkpoints_the_studys_share_judges_on_held_out_prompts(self) -> None:
        make_anchor()
        make_canary()
        prompt_set = make_prompts(4, n_held_out=2)
        study = make_study(pool_target=100, judging_share=0.3, prompt_set=prompt_set)
        self.fill(study)
        judging = Pair.objects.filter(purpose=PairPurpose.JUDGING)
        assert 15 <= judging.count() <= 45
        assert set(judging.values_list("prompt__is_held_out", flat=True)) == {True}
        training = Pair.objects.filter(purpose=PairPurpose.TRAINING)
        assert set(training.values_list("prompt__is_held_out", flat=True)) == {False}

    def test_judging_falls_back_to_the_other_prompts(self) -> None:
        make_anchor()
        make_canary()
        study = make_study(pool_target=4, judging_share=1.0)
        self.fill(study)
        assert Pair.objects.filter(purpose=PairPurpose.JUDGING).count() == 4

    def test_nothing_is_requested_for_a_closed_study_or_an_empty_rotation(self) -> None:
        study = make_study(pool_target=5)
        assert self.fill(study) == 0
        make_anchor()
        close_study(study=study)
        assert self.fill(study) == 0
        assert RotationEntry.objects.count() == 1

    def test_a_pool_whose_pairs_all_failed_waits_ten_minutes(self) -> None:
        make_anchor()
        study = make_study(pool_target=6)
        self.fill(study)
        Clip.objects.update(status=ClipStatus.FAILED)
        mark_ready_pairs(clips=list(Clip.objects.all()))
        assert self.fill(study) == 0
        Pair.objects.update(created_at=timezone.now() - timedelta(minutes=11))
        assert self.fill(study) == 6

    def test_a_pool_in_which_some_pairs_succeed_goes_on(self) -> None:
        make_anchor()
        study = make_study(pool_target=6)
        self.fill(study)
        pairs = Pair.objects.order_by("-pk")
        failed = [pair.second_clip for pair in (*pairs[:2], *pairs[3:])]
        Clip.objects.filter(pk__in=[clip.pk for clip in failed]).update(status=ClipStatus.FAILED)
        mark_ready_pairs(clips=failed)
        assert self.fill(study) == 5


def test_counts_of_a_study_tell_pairs_by_state() -> None:
    study, empty = make_study(), make_study()
    pairs = [make_pair(study) for _ in range(6)]
    ids = [pair.pk for pair in pairs]
    Pair.objects.filter(pk=ids[0]).update(is_ready=False)
    Pair.objects.filter(pk=ids[1]).update(is_withdrawn=True)
    Pair.objects.filter(pk=ids[2]).update(n_ratings=2)
    counts = study_counts([study, empty])
    assert counts[study.pk].as_mapping() == {
        "pending": 1,
        "ready": 3,
        "rated": 1,
        "withdrawn": 1,
        "ratings": 0,
    }
    assert set(counts[empty.pk].as_mapping().values()) == {0}
