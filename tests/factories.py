"""Rows for tests, made by the real services where there is one."""

import hashlib
import io
import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attune.catalog.melody_services import add_melody
from attune.catalog.models import (
    Checkpoint,
    Clip,
    ClipStatus,
    Damage,
    Melody,
    Population,
    Prompt,
    PromptSet,
    RotationRole,
)
from attune.catalog.services import (
    PromptRow,
    add_prompt_set,
    add_prompts,
    enter_rotation,
)
from attune.ratings.choices import PairPurpose
from attune.ratings.models import Pair, Study
from attune.ratings.services import create_study
from tests.recordings import recording_bytes, tune

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

_numbers = itertools.count(1)


def later(seconds: float) -> datetime:
    """The test's now, so many seconds on."""
    return NOW + timedelta(seconds=seconds)


def write_checkpoint(
    folder: Path,
    *,
    name: str,
    kind: str = "full",
    parent: Checkpoint | None = None,
    content: str = "",
) -> Path:
    """A checkpoint folder with one file and a card that tells the truth about it."""
    folder.mkdir(parents=True)
    weights = (content or name).encode()
    (folder / "lm.safetensors").write_bytes(weights)
    card = {
        "format": 1,
        "name": name,
        "kind": kind,
        "family": "starter",
        "parent": parent.name if parent else None,
        "parent_hash": parent.content_hash if parent else None,
        "files": {"lm.safetensors": hashlib.sha256(weights).hexdigest()},
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def make_checkpoint(name: str = "", *, parent: Checkpoint | None = None) -> Checkpoint:
    """A registered checkpoint without a folder."""
    name = name or f"checkpoint {next(_numbers)}"
    return Checkpoint.objects.create(
        name=name,
        kind="adapter" if parent else "full",
        family="starter",
        parent=parent,
        folder=name,
        content_hash=hashlib.sha256(name.encode()).hexdigest(),
        is_simulated=parent is not None and parent.is_simulated,
    )


def make_anchor(*, population: str = Population.PEOPLE) -> Checkpoint:
    """A checkpoint that anchors a population's rotation."""
    checkpoint = make_checkpoint()
    enter_rotation(
        checkpoint=checkpoint,
        population=population,
        role=RotationRole.ANCHOR,
        share=1.0,
        reason="the first checkpoint",
    )
    return checkpoint


def make_prompts(n: int = 3, *, n_held_out: int = 0) -> PromptSet:
    """A prompt set of n training prompts and some held-out ones."""
    prompt_set = add_prompt_set(name=f"prompts {next(_numbers)}")
    rows = [PromptRow(text=f"a slow waltz, take {index}") for index in range(n)]
    rows += [PromptRow(text=f"a march, take {i}", is_held_out=True) for i in range(n_held_out)]
    add_prompts(prompt_set=prompt_set, rows=rows)
    return prompt_set


def make_melody(name: str = "") -> Melody:
    """A stored recording of three seconds, of its own loudness and so of its own content."""
    number = next(_numbers)
    content = recording_bytes(samples=tune(amplitude=0.1 + number / 10_000))
    melody, _ = add_melody(
        file=io.BytesIO(content), n_bytes=len(content), name=name or f"tune {number}"
    )
    return melody


def make_study(
    *,
    population: str = Population.PEOPLE,
    prompt_set: PromptSet | None = None,
    overlap: int = 1,
    minimum_listening_s: float = 0.0,
    pool_target: int = 0,
    judging_share: float = 0.3,
    gold_share: float = 0.0,
    repeat_share: float = 0.0,
) -> Study:
    """An open study with clips of two seconds, whose raters are not checked unless asked for."""
    slug = f"study-{next(_numbers)}"
    return create_study(
        slug=slug,
        name=slug,
        population=population,
        prompt_set=prompt_set or make_prompts(),
        clip_duration_s=2.0,
        minimum_listening_s=minimum_listening_s,
        overlap=overlap,
        pool_target=pool_target,
        judging_share=judging_share,
        gold_share=gold_share,
        repeat_share=repeat_share,
    )


def make_clip(prompt: Prompt, checkpoint: Checkpoint) -> Clip:
    """A clip of two seconds that can be heard, though its files do not exist."""
    number = next(_numbers)
    return Clip.objects.create(
        prompt=prompt,
        checkpoint=checkpoint,
        status=ClipStatus.READY,
        requested_duration_s=2.0,
        seed=number,
        codes_path=f"clips/{number}.npy",
        codes_sha256="0" * 64,
        audio_path=f"clips/{number}.wav",
        audio_sha256="0" * 64,
        duration_s=2.0,
        sample_rate_hz=16_000,
        loudness_lufs=-20.0,
        gain_db=-3.0,
    )


def make_pair(
    study: Study,
    *,
    prompt: Prompt | None = None,
    checkpoints: Sequence[Checkpoint] = (),
) -> Pair:
    """A ready pair: of one checkpoint for training, of two for judging."""
    first, second = (*checkpoints, *checkpoints)[:2] if checkpoints else (make_checkpoint(),) * 2
    prompt = prompt or study.prompt_set.prompts.order_by("pk").first()
    assert prompt is not None
    return Pair.objects.create(
        study=study,
        prompt=prompt,
        purpose=PairPurpose.TRAINING if first == second else PairPurpose.JUDGING,
        first_clip=make_clip(prompt, first),
        second_clip=make_clip(prompt, second),
        first_checkpoint=first,
        second_checkpoint=second,
        is_ready=True,
    )


def make_gold_pair(study: Study, *, prompt: Prompt | None = None) -> Pair:
    """A ready gold pair: a clip first, and a copy of it that is full of holes."""
    checkpoint = make_checkpoint()
    prompt = prompt or study.prompt_set.prompts.order_by("pk").first()
    assert prompt is not None
    whole, copy = make_clip(prompt, checkpoint), make_clip(prompt, checkpoint)
    Clip.objects.filter(pk=copy.pk).update(
        damage=Damage.DROPOUTS, damaged_from=whole, codes_path="", codes_sha256=""
    )
    copy.refresh_from_db()
    return Pair.objects.create(
        study=study,
        prompt=prompt,
        purpose=PairPurpose.GOLD,
        first_clip=whole,
        second_clip=copy,
        first_checkpoint=checkpoint,
        second_checkpoint=checkpoint,
        is_ready=True,
    )
