"""Steps before the first pair: their order, what each records, and that no pair comes before."""

import numpy as np
import pytest

from attune.raters.consent_services import hash_consent_text, write_consent_text
from attune.raters.device_check import N_TRIALS, PASS_AT, right_interval
from attune.raters.errors import ArrivalError, ConsentError, DeviceCheckError, PracticeError
from attune.raters.models import Consent, ConsentText, DeviceCheck, Rater
from attune.raters.services import create_rater
from attune.ratings.arrival import ArrivalStep, asked_steps, find_study_now, next_step
from attune.ratings.arrival_models import Arrival, DeviceResult
from attune.ratings.arrival_services import (
    agree,
    answer_device_check,
    confirm_volume,
    decline,
    record_practice,
    replace_consent_text,
    skip_device_check,
    start_device_check,
)
from attune.ratings.choices import Side
from attune.ratings.models import Rating, Study
from attune.ratings.practice import clean_side, is_expected, practice_pair
from attune.ratings.services import assign_pair, update_study
from tests.factories import NOW, later, make_pair, make_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def text() -> ConsentText:
    written, _ = write_consent_text(name="listening", title="Taking part", text="We store answers.")
    return written


@pytest.fixture
def rater() -> Rater:
    return create_rater()


def study_that_asks(**settings: object) -> Study:
    study = make_study()
    return update_study(study=study, **settings)


def answer_trials(
    rater: Rater, study: Study, *, n_right: int, seconds: float = 0.0, n_trials: int = N_TRIALS
) -> Arrival:
    """Answers the check that is asked now, so many of its trials rightly."""
    check = start_device_check(rater=rater, study=study, now=later(seconds))
    for trial in range(n_trials):
        right = right_interval(check.seed, check.kind, trial)
        arrival = answer_device_check(
            rater=rater,
            study=study,
            check_id=check.pk,
            trial=trial,
            interval=right if trial < n_right else (right + 1) % 3,
            now=later(seconds),
        )
    return arrival


class TestOrder:
    def test_a_study_asks_nothing_unless_it_is_set(self, rater: Rater) -> None:
        study = make_study()
        assert asked_steps(study) == []
        assert next_step(rater, study) is ArrivalStep.RATING
        assert not Arrival.objects.exists()

    def test_a_study_that_asks_nothing_costs_no_query(
        self, rater: Rater, django_assert_num_queries: object
    ) -> None:
        study = make_study()
        with django_assert_num_queries(0):  # type: ignore[operator]
            next_step(rater, study)

    def test_the_steps_come_one_after_the_other(self, rater: Rater, text: ConsentText) -> None:
        study = study_that_asks(consent=text, asks_volume=True, device_check="record", n_practice=1)
        steps = [next_step(rater, study)]
        agree(rater=rater, study=study, text_id=text.pk, now=NOW)
        steps.append(next_step(rater, study))
        confirm_volume(rater=rater, study=study, now=NOW)
        steps.append(next_step(rater, study))
        answer_trials(rater, study, n_right=N_TRIALS)
        steps.append(next_step(rater, study))
        record_practice(rater=rater, study=study, number=0, choice="A", now=NOW)
        steps.append(next_step(rater, study))
        names = ["consent", "volume", "device_check", "practice", "rating"]
        assert [step.value for step in steps] == names
        assert [step.value for step in asked_steps(study)] == names[:-1]

    def test_no_pair_is_handed_out_before(self, rater: Rater, text: ConsentText) -> None:
        study = study_that_asks(consent=text, asks_volume=True)
        make_pair(study)
        rng = np.random.default_rng(0)
        codes = []
        for act in (
            lambda: agree(rater=rater, study=study, text_id=text.pk, now=NOW),
            lambda: confirm_volume(rater=rater, study=study, now=NOW),
        ):
            with pytest.raises(ArrivalError) as caught:
                assign_pair(study=study, rater=rater, rng=rng, now=NOW)
            codes.append(caught.value.code)
            act()
        assert codes == ["consent_needed", "volume_needed"]
        assert assign_pair(study=study, rater=rater, rng=rng, now=NOW) is not None

    def test_simulated_raters_are_asked_nothing(self, text: ConsentText) -> None:
        study = update_study(study=make_study(population="rehearsal"), asks_volume=True)
        assert next_step(create_rater(is_simulated=True), study) is ArrivalStep.RATING

    def test_a_study_is_passed_over_whose_check_keeps_the_rater_out(self, rater: Rater) -> None:
        strict = study_that_asks(device_check="exclude")
        assert find_study_now(rater) == (strict, ArrivalStep.DEVICE_CHECK)
        Arrival.objects.create(rater=rater, study=strict, device_result=DeviceResult.FAILED)
        assert find_study_now(rater) == (strict, ArrivalStep.SCREENED_OUT)
        other = make_study()
        assert find_study_now(rater) == (other, ArrivalStep.RATING)


class TestConsent:
    def test_versions_count_up_and_hold_the_hash_of_what_was_shown(self, text: ConsentText) -> None:
        second, is_new = write_consent_text(name="listening", title="Taking part", text="More.")
        assert (text.version, second.version, is_new) == (1, 2, True)
        assert second.text_sha256 == hash_consent_text("Taking part", "More.")
        text.refresh_from_db()
        assert text.text == "We store answers."

    def test_the_same_words_make_no_new_version(self, text: ConsentText) -> None:
        again = write_consent_text(
            name="listening", title="Taking part", text="We store answers. \r\n"
        )
        assert again == (text, False)

    def test_a_text_without_words_is_refused(self) -> None:
        with pytest.raises(ConsentError, match="are all needed"):
            write_consent_text(name="listening", title="Taking part", text="  ")

    def test_a_newer_version_asks_everyone_anew_and_keeps_both_agreements(
        self, rater: Rater, text: ConsentText
    ) -> None:
        study = study_that_asks(consent=text)
        agree(rater=rater, study=study, text_id=text.pk, now=NOW)
        assert next_step(rater, study) is ArrivalStep.RATING
        newer, n_studies = replace_consent_text(
            name="listening", title="Taking part", text="We store answers and remarks."
        )
        assert n_studies == 1
        study.refresh_from_db()
        assert study.consent == newer
        assert next_step(rater, study) is ArrivalStep.CONSENT
        agree(rater=rater, study=study, text_id=newer.pk, now=later(60))
        assert next_step(rater, study) is ArrivalStep.RATING
        assert [c.text for c in Consent.objects.order_by("pk")] == [text, newer]

    def test_another_names_version_moves_no_study(self, text: ConsentText) -> None:
        study_that_asks(consent=text)
        _, n_studies = replace_consent_text(name="other", title="Taking part", text="Else.")
        assert n_studies == 0

    def test_agreeing_to_an_older_version_than_is_asked_is_refused(
        self, rater: Rater, text: ConsentText
    ) -> None:
        study = study_that_asks(consent=text)
        replace_consent_text(name="listening", title="Taking part", text="Changed.")
        study.refresh_from_db()
        with pytest.raises(ConsentError, match="has changed since you read it"):
            agree(rater=rater, study=study, text_id=text.pk, now=NOW)
        assert not Consent.objects.exists()

    def test_declining_is_on_record_and_can_be_thought_over(
        self, rater: Rater, text: ConsentText
    ) -> None:
        study = study_that_asks(consent=text)
        decline(rater=rater, study=study, now=NOW)
        assert Arrival.objects.get().declined_at == NOW
        assert next_step(rater, study) is ArrivalStep.CONSENT
        agree(rater=rater, study=study, text_id=text.pk, now=later(5))
        assert Arrival.objects.get().declined_at is None


class TestDeviceCheck:
    def test_five_of_six_pass(self, rater: Rater) -> None:
        study = study_that_asks(device_check="exclude")
        arrival = answer_trials(rater, study, n_right=PASS_AT)
        assert arrival.device_result == DeviceResult.PASSED
        check = DeviceCheck.objects.get()
        assert (check.kind, check.n_correct, check.n_trials) == ("huggins_pitch", 5, 6)
        assert check.finished_at == NOW

    def test_who_hears_no_pitch_gets_the_tones_and_may_pass_by_them(self, rater: Rater) -> None:
        study = study_that_asks(device_check="exclude")
        arrival = answer_trials(rater, study, n_right=4)
        assert arrival.device_result == DeviceResult.OPEN
        assert arrival.device_check is not None
        assert arrival.device_check.kind == "antiphase"
        assert answer_trials(rater, study, n_right=6).device_result == DeviceResult.PASSED

    def test_failing_both_is_recorded_and_keeps_nobody_out_by_itself(self, rater: Rater) -> None:
        study = study_that_asks(device_check="record")
        answer_trials(rater, study, n_right=2)
        assert answer_trials(rater, study, n_right=2).device_result == DeviceResult.FAILED
        assert next_step(rater, study) is ArrivalStep.RATING

    def test_a_study_that_says_so_keeps_out_after_two_tries_and_lets_in_when_it_relents(
        self, rater: Rater
    ) -> None:
        study = study_that_asks(device_check="exclude")
        for _ in range(2):
            answer_trials(rater, study, n_right=0)
            answer_trials(rater, study, n_right=0)
            assert next_step(rater, study) is ArrivalStep.SCREENED_OUT
        with pytest.raises(DeviceCheckError, match="is done"):
            start_device_check(rater=rater, study=study, now=NOW)
        update_study(study=study, device_check="record")
        assert next_step(rater, study) is ArrivalStep.RATING

    def test_it_ends_after_two_minutes(self, rater: Rater) -> None:
        study = study_that_asks(device_check="record")
        check = start_device_check(rater=rater, study=study, now=NOW)
        arrival = answer_device_check(
            rater=rater, study=study, check_id=check.pk, trial=0, interval=0, now=later(121)
        )
        assert arrival.device_result == DeviceResult.FAILED
        check.refresh_from_db()
        assert (check.n_trials, check.finished_at) == (0, later(121))

    def test_who_comes_back_after_the_two_minutes_is_not_stuck(self, rater: Rater) -> None:
        study = study_that_asks(device_check="record")
        check = start_device_check(rater=rater, study=study, now=NOW)
        assert start_device_check(rater=rater, study=study, now=later(600)) == check
        assert Arrival.objects.get().device_result == DeviceResult.FAILED
        assert next_step(rater, study) is ArrivalStep.RATING

    def test_a_left_check_takes_one_of_the_two_tries(self, rater: Rater) -> None:
        study = study_that_asks(device_check="exclude")
        first = start_device_check(rater=rater, study=study, now=NOW)
        second = start_device_check(rater=rater, study=study, now=later(600))
        assert second != first
        start_device_check(rater=rater, study=study, now=later(1200))
        assert next_step(rater, study) is ArrivalStep.SCREENED_OUT
        assert not DeviceCheck.objects.filter(finished_at=None).exists()

    def test_a_reload_takes_up_the_same_check(self, rater: Rater) -> None:
        study = study_that_asks(device_check="record")
        first = start_device_check(rater=rater, study=study, now=NOW)
        assert start_device_check(rater=rater, study=study, now=later(30)) == first
        assert DeviceCheck.objects.count() == 1

    def test_an_answer_counts_once_and_in_its_turn(self, rater: Rater) -> None:
        study = study_that_asks(device_check="record")
        check = start_device_check(rater=rater, study=study, now=NOW)

        def answer(trial: int, interval: int) -> None:
            answer_device_check(
                rater=rater,
                study=study,
                check_id=check.pk,
                trial=trial,
                interval=interval,
                now=NOW,
            )

        answer(0, 1)
        answer(0, 2)
        with pytest.raises(DeviceCheckError, match="trial 1 is asked now"):
            answer(3, 1)
        with pytest.raises(DeviceCheckError, match="expected 0, 1 or 2"):
            answer(1, 3)
        check.refresh_from_db()
        assert check.answers == [1]

    def test_another_raters_check_cannot_be_answered(self, rater: Rater) -> None:
        study = study_that_asks(device_check="record")
        check = start_device_check(rater=create_rater(), study=study, now=NOW)
        with pytest.raises(DeviceCheckError, match="no such"):
            answer_device_check(
                rater=rater, study=study, check_id=check.pk, trial=0, interval=0, now=NOW
            )

    def test_no_headphones_can_be_said_where_it_is_only_recorded(self, rater: Rater) -> None:
        study = study_that_asks(device_check="record")
        skip_device_check(rater=rater, study=study, now=NOW)
        assert Arrival.objects.get().device_result == DeviceResult.NO_HEADPHONES
        assert next_step(rater, study) is ArrivalStep.RATING
        strict = study_that_asks(device_check="exclude")
        with pytest.raises(DeviceCheckError, match="with headphones only"):
            skip_device_check(rater=rater, study=strict, now=NOW)

    def test_no_two_raters_get_the_same_answers(self) -> None:
        study = study_that_asks(device_check="record")
        seeds = {
            start_device_check(rater=create_rater(), study=study, now=NOW).seed for _ in range(5)
        }
        assert len(seeds) == 5


class TestPractice:
    def test_a_study_that_asks_for_fewer_pairs_leaves_nobody_behind(self, rater: Rater) -> None:
        study = study_that_asks(n_practice=3)
        for number in range(2):
            record_practice(rater=rater, study=study, number=number, choice="A", now=NOW)
        assert next_step(rater, study) is ArrivalStep.PRACTICE
        update_study(study=study, n_practice=2)
        assert next_step(rater, study) is ArrivalStep.RATING

    def test_answers_are_kept_beside_and_never_as_ratings(self, rater: Rater) -> None:
        study = study_that_asks(n_practice=2)
        for choice in ("A", "B"):  # the second thought about the first pair is not kept
            record_practice(rater=rater, study=study, number=0, choice=choice, now=NOW)
        record_practice(rater=rater, study=study, number=1, choice="TIE", now=later(9))
        arrival = Arrival.objects.get()
        assert arrival.practice == ["A", "TIE"]
        assert arrival.practice_done_at == later(9)
        assert not Rating.objects.exists()

    def test_pairs_are_answered_in_their_order(self, rater: Rater) -> None:
        study = study_that_asks(n_practice=2)
        with pytest.raises(PracticeError, match="pair 0 is asked now"):
            record_practice(rater=rater, study=study, number=1, choice="A", now=NOW)
        with pytest.raises(PracticeError):
            record_practice(rater=rater, study=study, number=2, choice="A", now=NOW)

    def test_the_sides_are_drawn_for_each_rater_and_stay(self, rater: Rater) -> None:
        sides = [clean_side(rater, number) for number in range(3)]
        assert sides == [clean_side(rater, number) for number in range(3)]
        drawn = {clean_side(create_rater(), 0) for _ in range(20)}
        assert drawn == {Side.A, Side.B}

    def test_the_expected_answer_is_the_side_without_damage(self, rater: Rater) -> None:
        pair = practice_pair(rater, 1)
        other = Side.B if pair.clean_side is Side.A else Side.A
        assert is_expected(rater, 1, pair.clean_side.value)
        for choice in (other.value, "TIE", "BOTH_BAD"):
            assert not is_expected(rater, 1, choice)
        lengths = {len(side.audio()) for side in pair.sides.values()}
        assert len(lengths) == 1

    def test_a_study_has_at_most_three(self) -> None:
        from attune.ratings.errors import StudyError

        with pytest.raises(StudyError, match="three_practice_pairs"):
            study_that_asks(n_practice=4)
