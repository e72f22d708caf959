"""A PostgreSQL database as a busy site has it: a million ratings, filled in by SQL.

Rows are copies of one that the services made, with what tells them apart replaced, so that a
new column needs nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.models import User
from django.db import connection, models
from django.utils import timezone

from attune.catalog.models import Checkpoint, Clip, ClipStatus, Prompt
from attune.catalog.services import PromptRow, add_prompt_set, add_prompts
from attune.raters.models import Rater
from attune.raters.services import create_rater
from attune.ratings.choices import AssignmentState, Choice, PairPurpose
from attune.ratings.models import Assignment, Pair, Rating, Study
from attune.ratings.services import create_study
from tests.factories import make_checkpoint

OVERLAP = 4
AUDIO_PATH = "clips/benchmark.wav"


@dataclass(frozen=True)
class Sizes:
    """How much there is; ratings are a multiple of 4."""

    n_ratings: int = 1_000_000
    n_raters: int = 5_000
    n_checkpoints: int = 200
    n_prompts: int = 200
    n_ready: int = 4_000
    """Pairs that nobody rated yet."""

    @property
    def n_rated(self) -> int:
        """Pairs that have all their ratings."""
        return self.n_ratings // OVERLAP


def copy_rows(row: models.Model, n: int, replaced: Mapping[str, str]) -> None:
    """Inserts n copies of a row; replaced: columns and the SQL of their values, i from 0."""
    meta = row._meta
    columns, values = [], []
    for field in meta.concrete_fields:
        assert field.column is not None
        if field.column in replaced:
            value = replaced[field.column]
        elif field.primary_key:
            continue
        else:
            value = f't."{field.column}"'
        columns.append(f'"{field.column}"')
        values.append(value)
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{meta.db_table}" ({", ".join(columns)}) '
            f"SELECT {', '.join(values)} "
            f'FROM "{meta.db_table}" t, generate_series(0, {n - 1}) i '
            f"WHERE t.\"{meta.pk.column}\" = '{row.pk}'"
        )


def _first_id(kind: type[models.Model], after: models.Model) -> int:
    found = kind._default_manager.filter(pk__gt=after.pk).aggregate(first=models.Min("pk"))
    return int(found["first"])


def fill(sizes: Sizes, *, study_slug: str, audio: Path, duration_s: float) -> Study:
    """Returns an open study without a listening rule, with sizes.n_ready pairs to rate.

    audio: a WAV file that every clip plays; already in the media store as AUDIO_PATH.
    """
    prompt_set = add_prompt_set(name=f"{study_slug} prompts")
    texts = [PromptRow(text=f"prompt number {number}") for number in range(sizes.n_prompts)]
    add_prompts(prompt_set=prompt_set, rows=texts)
    prompt = Prompt.objects.filter(prompt_set=prompt_set).earliest("pk")
    study = create_study(
        slug=study_slug,
        name=study_slug,
        population="people",
        prompt_set=prompt_set,
        clip_duration_s=duration_s,
        minimum_listening_s=0.0,
        overlap=OVERLAP,
        pairs_per_session=100,
    )
    rater = create_rater()
    user = rater.user
    copy_rows(user, sizes.n_raters, {"username": "'filled-' || i"})
    first_user = _first_id(User, user)
    copy_rows(
        rater,
        sizes.n_raters,
        {"user_id": f"{first_user} + i", "pseudonym": "md5('rater' || i)::uuid"},
    )
    first_rater = _first_id(Rater, rater)

    checkpoint = make_checkpoint("benchmark")
    copy_rows(
        checkpoint,
        sizes.n_checkpoints,
        {
            "name": "'filled-' || i",
            "folder": "'filled-' || i",
            "content_hash": "md5('checkpoint' || i) || md5('again' || i)",
        },
    )
    first_checkpoint = _first_id(Checkpoint, checkpoint)

    clip = Clip.objects.create(
        prompt=prompt,
        checkpoint=checkpoint,
        status=ClipStatus.READY,
        requested_duration_s=duration_s,
        seed=0,
        codes_path="codes/benchmark.npy",
        codes_sha256="0" * 64,
        audio_path=AUDIO_PATH,
        audio_sha256="0" * 64,
        duration_s=duration_s,
        sample_rate_hz=32_000,
        loudness_lufs=-20.0,
        true_peak_dbtp=-3.0,
        gain_db=-3.0,
        peaks=[round(0.001 * number % 1.0, 3) for number in range(200)],
        ready_at=timezone.now(),
    )
    n_pairs = sizes.n_rated + sizes.n_ready

    def checkpoint_of(pair: str, side: str) -> str:
        """The SQL of a checkpoint: every third pair sets two of them against each other."""
        shift = f"CASE WHEN {pair} % 3 = 0 THEN {side} * (1 + {pair} % 7) ELSE 0 END"
        return f"{first_checkpoint} + ({pair} + {shift}) % {sizes.n_checkpoints}"

    prompt_of = f"{prompt.pk} + {{}} % {sizes.n_prompts}"
    copy_rows(
        clip,
        2 * n_pairs,
        {
            "id": "md5('clip' || i)::uuid",
            "prompt_id": prompt_of.format("(i / 2)"),
            "checkpoint_id": checkpoint_of("(i / 2)", "(i % 2)"),
            "seed": "i",
        },
    )
    second = Clip.objects.create(
        **{
            f.attname: getattr(clip, f.attname)
            for f in Clip._meta.concrete_fields
            if f.name != "id"
        }
    )
    pair = Pair.objects.create(
        study=study,
        prompt=prompt,
        purpose=PairPurpose.TRAINING,
        first_clip=clip,
        second_clip=second,
        first_checkpoint=checkpoint,
        second_checkpoint=checkpoint,
        is_ready=True,
        n_ratings=OVERLAP,
    )
    copy_rows(
        pair,
        n_pairs,
        {
            "prompt_id": prompt_of.format("i"),
            "purpose": f"CASE WHEN i % 3 = 0 THEN '{PairPurpose.JUDGING}' ELSE t.purpose END",
            "first_clip_id": "md5('clip' || 2 * i)::uuid",
            "second_clip_id": "md5('clip' || (2 * i + 1))::uuid",
            "first_checkpoint_id": checkpoint_of("i", "0"),
            "second_checkpoint_id": checkpoint_of("i", "1"),
            "n_ratings": f"CASE WHEN i < {sizes.n_rated} THEN {OVERLAP} ELSE 0 END",
        },
    )
    first_pair = _first_id(Pair, pair)
    _fill_ratings(sizes, pair, rater, first_pair=first_pair, first_rater=first_rater)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    assert Rating.objects.count() == sizes.n_ratings + 1
    return study


def _fill_ratings(
    sizes: Sizes, pair: Pair, rater: Rater, *, first_pair: int, first_rater: int
) -> None:
    """Has OVERLAP different raters answer each rated pair, over the last hundred days."""
    assignment = Assignment.objects.create(
        pair=pair,
        rater=rater,
        is_swapped=False,
        state=AssignmentState.ANSWERED,
        propensity=0.5,
        lease_until=timezone.now(),
    )
    rating = Rating.objects.create(
        client_id=assignment.pk,
        assignment=assignment,
        pair=pair,
        rater=rater,
        choice=Choice.A,
        is_simulated=False,
    )
    a_quarter = sizes.n_raters // OVERLAP
    shared = {
        "pair_id": f"{first_pair} + i / {OVERLAP}",
        "rater_id": f"{first_rater} + i % {OVERLAP} * {a_quarter} + i / {OVERLAP} % {a_quarter}",
    }
    age = f"now() - interval '100 days' * (1 - i::float / {sizes.n_ratings})"
    copy_rows(
        assignment,
        sizes.n_ratings,
        {
            **shared,
            "id": "md5('assignment' || i)::uuid",
            "is_swapped": "i % 2 = 0",
            "handed_out_at": age,
            "lease_until": age,
        },
    )
    choices = "ARRAY['A', 'A', 'A', 'A', 'B', 'B', 'B', 'TIE', 'TIE', 'BOTH_BAD']"
    copy_rows(
        rating,
        sizes.n_ratings,
        {
            **shared,
            "client_id": "md5('client' || i)::uuid",
            "assignment_id": "md5('assignment' || i)::uuid",
            "choice": f"({choices})[1 + (i * 7) % 10]",
            "created_at": age,
        },
    )
