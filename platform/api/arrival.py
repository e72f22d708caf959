"""What raters do before their first pair: agree, set the volume, check the device, practise.

Whoever rates by script goes the same way as a page. Sounds are made by the site, and no answer
can be read off an address, a name or a length.
"""

from typing import Annotated, Literal

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from ninja import Router, Schema
from pydantic import Field

from api.access import RATERS, allow, get_rater
from api.shapes import Request
from attune.raters.device_check import N_INTERVALS, N_TRIALS, trial_sound
from attune.raters.models import DeviceCheck, DeviceCheckKind, Rater
from attune.raters.practice_sounds import SAMPLE_RATE_HZ, volume_noise
from attune.raters.stimuli import SAMPLE_RATE_HZ as CHECK_SAMPLE_RATE_HZ
from attune.raters.wav import wav_bytes
from attune.ratings.arrival import asked_steps, next_step
from attune.ratings.arrival_models import Arrival, DeviceResult
from attune.ratings.arrival_services import (
    agree,
    answer_device_check,
    confirm_volume,
    decline,
    record_practice,
    skip_device_check,
    start_device_check,
)
from attune.ratings.choices import Choice, Side
from attune.ratings.models import Study
from attune.ratings.practice import PracticeSide, is_expected, practice_pair
from attune.ratings.selectors import open_studies
from attune.ratings.withdrawal_services import withdraw

router = Router(tags=["arrival"], auth=allow(RATERS))

Step = Literal["consent", "volume", "device_check", "screened_out", "practice", "rating"]
Number = Annotated[int, Field(ge=0, le=100)]


class ConsentTextAnswer(Schema):
    """A version of a consent text as raters read it."""

    id: int
    name: str
    version: int
    title: str
    text: str
    language: str
    sha256: str


class ArrivalAnswer(Schema):
    """What the rater does next in a study, and all that the study puts before its pairs."""

    study: str
    step: Step
    asked: list[Step]
    consent: ConsentTextAnswer | None


class StudyNamed(Request):
    """A study by its slug; the rater's current one when left out."""

    study: str | None = None


class ConsentRequest(StudyNamed):
    """Agreement to the version that was read, or none."""

    text: int
    agrees: bool


class CheckAnswer(Schema):
    """How far the headphone check is. `sound_url` is the trial asked now; null when done."""

    step: Step
    check: int | None
    kind: DeviceCheckKind | None
    trial: int
    n_trials: int
    sound_url: str | None


class CheckRequest(StudyNamed):
    """Which interval stood out in a trial, counted from 0."""

    check: int
    trial: Number
    interval: Annotated[int, Field(ge=0, lt=N_INTERVALS)]


class PracticeSideAnswer(Schema):
    """One side as the player takes it."""

    audio_url: str
    gain_db: float
    duration_s: float
    peaks: list[float]


class PracticeAnswer(Schema):
    """A practice pair."""

    number: int
    n_pairs: int
    prompt: str
    a: PracticeSideAnswer
    b: PracticeSideAnswer


class PracticeRequest(StudyNamed):
    """An answer to a practice pair."""

    number: Number
    choice: Choice


class PracticeFeedback(Schema):
    """Whether the answer was the expected one, which side that is, what is wrong with the other."""

    step: Step
    is_expected: bool
    clean_side: Side
    damage: str


def _study(rater: Rater, slug: str | None) -> Study:
    """The named study if it is open to the rater, or the first that is."""
    studies = open_studies(rater)
    study = studies.first() if slug is None else studies.filter(slug=slug).first()
    if study is None:
        raise Http404("no study is open to you" if slug is None else f"no study {slug!r}")
    return study


def _step(rater: Rater, study: Study) -> Step:
    return next_step(rater, study).value


def _arrival_answer(rater: Rater, study: Study) -> ArrivalAnswer:
    text = study.consent
    consent = None
    if text is not None:
        consent = ConsentTextAnswer(
            id=text.pk,
            name=text.name,
            version=text.version,
            title=text.title,
            text=text.text,
            language=text.language,
            sha256=text.text_sha256,
        )
    return ArrivalAnswer(
        study=study.slug,
        step=_step(rater, study),
        asked=[step.value for step in asked_steps(study)],
        consent=consent,
    )


@router.get("arrival", response=ArrivalAnswer)
def read_arrival(request: HttpRequest, study: str | None = None) -> ArrivalAnswer:
    """What comes next before the first pair; `rating` when nothing does."""
    rater = get_rater(request)
    return _arrival_answer(rater, _study(rater, study))


@router.post("arrival/consent", response=ArrivalAnswer)
def give_consent(request: HttpRequest, body: ConsentRequest) -> ArrivalAnswer:
    """Agrees to the study's consent text, or declines it. 409 when a newer version is asked."""
    rater = get_rater(request)
    study = _study(rater, body.study)
    if body.agrees:
        agree(rater=rater, study=study, text_id=body.text, now=timezone.now())
    else:
        decline(rater=rater, study=study, now=timezone.now())
    return _arrival_answer(rater, study)


@router.post("arrival/volume", response=ArrivalAnswer)
def set_volume(request: HttpRequest, body: StudyNamed | None = None) -> ArrivalAnswer:
    """Says that the reference sound is comfortable."""
    rater = get_rater(request)
    study = _study(rater, None if body is None else body.study)
    confirm_volume(rater=rater, study=study, now=timezone.now())
    return _arrival_answer(rater, study)


@router.get("arrival/volume.wav", include_in_schema=False)
def volume_sound(request: HttpRequest) -> HttpResponse:
    """The reference sound, at the level at which clips are played."""
    noise = volume_noise(settings.ATTUNE_PLAYBACK_LUFS)
    return _wav(wav_bytes(noise, SAMPLE_RATE_HZ), "private, max-age=86400")


@router.post("arrival/device-check", response=CheckAnswer)
def begin_device_check(request: HttpRequest, body: StudyNamed | None = None) -> CheckAnswer:
    """Starts the headphone check, or takes up the one that is going on."""
    rater = get_rater(request)
    study = _study(rater, None if body is None else body.study)
    start_device_check(rater=rater, study=study, now=timezone.now())
    return _check_answer(rater, study)


@router.post("arrival/device-check/answers", response=CheckAnswer)
def give_check_answer(request: HttpRequest, body: CheckRequest) -> CheckAnswer:
    """Takes one trial's answer; whether it was right is not told."""
    rater = get_rater(request)
    study = _study(rater, body.study)
    answer_device_check(
        rater=rater,
        study=study,
        check_id=body.check,
        trial=body.trial,
        interval=body.interval,
        now=timezone.now(),
    )
    return _check_answer(rater, study)


@router.post("arrival/device-check/no-headphones", response=CheckAnswer)
def have_no_headphones(request: HttpRequest, body: StudyNamed | None = None) -> CheckAnswer:
    """Says that there are none, where the study only records it."""
    rater = get_rater(request)
    study = _study(rater, None if body is None else body.study)
    skip_device_check(rater=rater, study=study, now=timezone.now())
    return _check_answer(rater, study)


@router.get("arrival/device-check/{int:check_id}/{int:trial}.wav", include_in_schema=False)
def check_sound(request: HttpRequest, check_id: int, trial: int) -> HttpResponse:
    """The sound of the trial that the rater is asked now; of no other trial and nobody else's."""
    rater = get_rater(request)
    check = DeviceCheck.objects.filter(pk=check_id, rater=rater, finished_at=None).first()
    if check is None or trial != len(check.answers):
        raise Http404("no such sound")
    sound = trial_sound(check.seed, check.kind, trial, level_dbfs=settings.ATTUNE_PLAYBACK_LUFS)
    return _wav(wav_bytes(sound, CHECK_SAMPLE_RATE_HZ), "no-store")


def _check_answer(rater: Rater, study: Study) -> CheckAnswer:
    arrival = Arrival.objects.select_related("device_check").get(rater=rater, study=study)
    check = arrival.device_check
    step = _step(rater, study)
    if check is None or arrival.device_result != DeviceResult.OPEN:
        return CheckAnswer(
            step=step, check=None, kind=None, trial=0, n_trials=N_TRIALS, sound_url=None
        )
    trial = len(check.answers)
    return CheckAnswer(
        step=step,
        check=check.pk,
        kind=DeviceCheckKind(check.kind),
        trial=trial,
        n_trials=N_TRIALS,
        sound_url=reverse("api:check_sound", args=[check.pk, trial]),
    )


@router.get("arrival/practice", response=PracticeAnswer)
def read_practice(
    request: HttpRequest, number: int | None = None, study: str | None = None
) -> PracticeAnswer:
    """A practice pair: the one that is asked now, unless a number is given."""
    rater = get_rater(request)
    found = _study(rater, study)
    if number is None:
        arrival = Arrival.objects.filter(rater=rater, study=found).first()
        number = min(len(arrival.practice), found.n_practice - 1) if arrival else 0
    if not 0 <= number < found.n_practice:
        raise Http404("no such practice pair")
    pair = practice_pair(rater, number)
    return PracticeAnswer(
        number=number,
        n_pairs=found.n_practice,
        prompt=pair.prompt,
        a=_side_answer(number, Side.A, pair.sides[Side.A]),
        b=_side_answer(number, Side.B, pair.sides[Side.B]),
    )


def _side_answer(number: int, side: Side, sound: PracticeSide) -> PracticeSideAnswer:
    return PracticeSideAnswer(
        audio_url=reverse("api:practice_sound", args=[number, side.value]),
        gain_db=round(sound.gain_db, 2),
        duration_s=sound.duration_s,
        peaks=sound.peaks,
    )


@router.get("arrival/practice/{int:number}/{side}.wav", include_in_schema=False)
def practice_sound(request: HttpRequest, number: int, side: Side) -> HttpResponse:
    """One side of a practice pair, as this rater hears it."""
    rater = get_rater(request)
    try:
        pair = practice_pair(rater, number)
    except ValueError as exc:
        raise Http404("no such practice pair") from exc
    return _wav(pair.sides[side].audio(), "private, max-age=3600")


@router.post("arrival/practice", response=PracticeFeedback)
def answer_practice(request: HttpRequest, body: PracticeRequest) -> PracticeFeedback:
    """Takes an answer to a practice pair and says how it was. It is no rating."""
    rater = get_rater(request)
    study = _study(rater, body.study)
    record_practice(
        rater=rater, study=study, number=body.number, choice=body.choice, now=timezone.now()
    )
    pair = practice_pair(rater, body.number)
    return PracticeFeedback(
        step=_step(rater, study),
        is_expected=is_expected(rater, body.number, body.choice),
        clean_side=pair.clean_side,
        damage=pair.damage.value,
    )


@router.post("withdrawal", response={204: None})
def leave(request: HttpRequest) -> tuple[int, None]:
    """Ends the caller's part for good and erases what the person can be known by."""
    withdraw(rater=get_rater(request), now=timezone.now())
    return 204, None


def _wav(content: bytes, cache: str) -> HttpResponse:
    return HttpResponse(content, content_type="audio/wav", headers={"Cache-Control": cache})
