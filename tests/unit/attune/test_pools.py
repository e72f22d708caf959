"""Pairs are requested for prompts in turn, become ready with their clips, and fill a pool."""

import io
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import Q
from django.utils import timezone

from attune.catalog.melody_services import add_melody
from attune.catalog.models import (
    Checkpoint,
    Clip,
    ClipStatus,
    Population,
    RotationEntry,
    RotationRole,
)
from attune.catalog.services import enter_rotation, retire_checkpoint, roll_back_checkpoint
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
from tests.recordings import recording_bytes

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
    def test_the_seeds_of_a_pair_share_all_bits_but_the_last(self) -> None:
        """So that a generator, which plans by the other bits, gives both one key and beat."""
        make_anchor()
        for pair in request(make_study()):
            seeds = {pair.first_clip.seed, pair.second_clip.seed}
            assert len(seeds) == 2
            assert len({seed // 2 for seed in seeds}) == 1

    def test_prompts_that_follow_a_recording_are_not_trained_on(self) -> None:
        make_anchor()
        study = make_study()
        followed = study.prompt_set.prompts.filter(is_held_out=False).first()
        assert followed is not None
        content = recording_bytes()
        followed.melody, _ = add_melody(file=io.BytesIO(content), n_bytes=len(content))
        followed.save(update_fields=["melody"])
        assert followed not in {pair.prompt for pair in request(study, 40)}

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
        simulated = make_checkpoint("a")
        Checkpoint.objects.filter(pk=simulated.pk).update(is_simulated=True)
        simulated.refresh_from_db()
        with pytest.raises(PairingError, match="checkpoint a learned from simulated ratings"):
            request(study, checkpoints=[simulated])
        with pytest.raises(PairingError, match="is for people"):
            request(study, purpose="judging", checkpoints=[checkpoint, simulated])
        with pytest.raises(PairingError, match="gold pairs need 1 different"):
            request(study, purpose="gold", checkpoints=[checkpoint, make_checkpoint()])
        assert not Pair.objects.exists()
        assert not Job.objects.exists()

    def test_a_simulated_checkpoint_has_its_place_in_a_rehearsal(self) -> None:
        simulated = make_checkpoint()
        simulated.is_simulated = True
        simulated.save()
        study = make_study(population=Population.REHEARSAL)
        assert len(request(study, 2, checkpoints=[simulated])) == 2

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

    def test_a_canary_that_enters_has_its_share_of_a_full_pool_at_once_and_once(self) -> None:
        make_anchor()
        study = make_study(pool_target=12, judging_share=0.5)
        self.fill(study)
        canary = make_canary(0.25)
        assert self.fill(study) == 3
        newest = Pair.objects.order_by("-pk")[:3]
        assert all(canary in {pair.first_checkpoint, pair.second_checkpoint} for pair in newest)
        assert all(
            (pair.first_checkpoint == pair.second_checkpoint)
            == (pair.purpose == PairPurpose.TRAINING)
            for pair in newest
        )
        assert self.fill(study) == 0
        Pair.objects.filter(pk__in=[pair.pk for pair in newest]).update(n_ratings=1)
        assert self.fill(study) == 0, "from now on it comes as often as it is drawn"

    def test_a_canary_with_the_smallest_share_has_one_pair(self) -> None:
        make_anchor()
        study = make_study(pool_target=6)
        self.fill(study)
        make_canary(0.001)
        assert self.fill(study) == 1

    def test_a_pool_whose_pairs_left_with_their_checkpoint_is_filled_again(self) -> None:
        make_anchor()
        canary = make_canary(0.5)
        study = make_study(pool_target=8)
        self.fill(study)
        of_canary = Q(first_checkpoint=canary) | Q(second_checkpoint=canary)
        n_left = Pair.objects.filter(of_canary).count()
        assert n_left > 0
        roll_back_checkpoint(checkpoint=canary, population="people", reason="Worse.")
        counts = study_counts([study])[study.pk]
        assert (counts.n_pending, counts.n_withdrawn) == (8 - n_left, n_left)
        assert self.fill(study) == n_left

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


class TestLeavingRotation:
    """What was drawn from rotation is handed out only while its checkpoints are in it."""

    def assigned(self, study: Study) -> Pair | None:
        rng = random.Random(1)
        assignment = assign_pair(study=study, rater=create_rater(), rng=rng, now=NOW)
        return assignment.pair if assignment else None

    def all_ready(self) -> None:
        make_ready(*Clip.objects.all())
        mark_ready_pairs(clips=list(Clip.objects.all()))

    @pytest.mark.parametrize("purpose", ["training", "judging"])
    @pytest.mark.parametrize("leave", [roll_back_checkpoint, retire_checkpoint])
    def test_drawn_pairs_stop_with_their_checkpoint(
        self, purpose: str, leave: Callable[..., None]
    ) -> None:
        make_anchor()
        canary, study = make_canary(0.5), make_study()
        while not Pair.objects.filter(first_checkpoint=canary).exists():
            request(study, 4, purpose)
        Pair.objects.exclude(first_checkpoint=canary).update(is_withdrawn=True)
        self.all_ready()
        assert self.assigned(study) is not None
        leave(checkpoint=canary, population="people", reason="Worse.")
        assert self.assigned(study) is None
        assert study_counts([study])[study.pk].n_ready == 0

    def test_drawn_pairs_of_the_others_go_on(self) -> None:
        anchor = make_anchor()
        canary, study = make_canary(0.5), make_study()
        request(study, 20)
        self.all_ready()
        roll_back_checkpoint(checkpoint=canary, population="people", reason="Worse.")
        for _ in range(5):
            pair = self.assigned(study)
            assert pair is not None
            assert pair.first_checkpoint == anchor

    def test_an_entry_in_the_other_population_does_not_keep_them(self) -> None:
        make_anchor()
        canary, study = make_canary(0.5), make_study()
        enter_rotation(
            checkpoint=canary, population="rehearsal", role="canary", share=0.5, reason="A trial."
        )
        request(study, 4, "judging")
        self.all_ready()
        roll_back_checkpoint(checkpoint=canary, population="people", reason="Worse.")
        assert self.assigned(study) is None

    def test_a_checkpoint_that_enters_again_brings_its_pairs_back(self) -> None:
        make_anchor()
        canary, study = make_canary(0.5), make_study()
        request(study, 4, "judging")
        self.all_ready()
        roll_back_checkpoint(checkpoint=canary, population="people", reason="Worse.")
        enter_rotation(
            checkpoint=canary, population="people", role="canary", share=0.5, reason="Again."
        )
        assert self.assigned(study) is not None

    def test_pairs_requested_by_name_are_handed_out_though_the_gate_kept_one_out(self) -> None:
        both = [make_anchor(), make_checkpoint()]
        study = make_study()
        request(study, 1, "judging", checkpoints=both)
        self.all_ready()
        assert self.assigned(study) is not None

    def test_an_assignment_in_hand_stays_answerable(self) -> None:
        make_anchor()
        canary, study, rater = make_canary(0.5), make_study(), create_rater()
        request(study, 1, "judging")
        self.all_ready()
        given = assign_pair(study=study, rater=rater, rng=random.Random(1), now=NOW)
        roll_back_checkpoint(checkpoint=canary, population="people", reason="Worse.")
        assert given is not None
        assert assign_pair(study=study, rater=rater, rng=random.Random(1), now=NOW) == given


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
