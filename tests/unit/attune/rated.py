"""A study with clips, pairs and ratings, written straight into the tables."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from django.utils import timezone

from attune.catalog.models import (
    Checkpoint,
    Clip,
    ClipStatus,
    Population,
    Prompt,
    PromptSet,
    RotationRole,
)
from attune.catalog.services import add_checkpoint, enter_rotation
from attune.raters.models import Rater
from attune.raters.services import create_rater
from attune.ratings.choices import AssignmentState, Choice, PairPurpose
from attune.ratings.models import Assignment, Pair, Rating, Study

PASSING_FIGURES = {
    "integrity": 1.0,
    "finite": 1.0,
    "silence": 0.0,
    "clipping": 0.0,
    "duration": 0.02,
    "held_out_accuracy": 0.75,
    "chosen_nll": 0.1,
    "distribution": 1.2,
    "loudness_shift": 0.5,
    "anchor_distribution": 1.4,
    "anchor_loudness": 0.8,
    "prompt_adherence": 0.95,
    "diversity": 0.97,
    "embedding_diversity": 1.1,
}
"""What a sound candidate shows the gate, one figure for every check."""

_numbers = itertools.count(1)


def write_checkpoint(
    folder: Path,
    *,
    name: str,
    kind: str = "full",
    parent: Checkpoint | None = None,
    content: str = "",
) -> Path:
    """A checkpoint folder with a card and one file, its content the name unless given."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = content or name
    (folder / "weights.safetensors").write_text(weights)
    card = {
        "format": 1,
        "name": name,
        "kind": kind,
        "family": "starter",
        "parent": None if parent is None else parent.name,
        "parent_hash": None if parent is None else parent.content_hash,
        "files": {"weights.safetensors": hashlib.sha256(weights.encode()).hexdigest()},
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@dataclass
class RatedStudy:
    """Adds clips, pairs and ratings to one study."""

    study: Study
    base: Checkpoint
    folder: Path
    raters: list[Rater] = field(default_factory=list)

    @property
    def population(self) -> Population:
        return Population(self.study.population)

    def add_checkpoint(self, name: str, *, parent: Checkpoint | None = None) -> Checkpoint:
        kind = "full" if parent is None else "adapter"
        folder = write_checkpoint(self.folder / name, name=name, kind=kind, parent=parent)
        return add_checkpoint(folder=folder, parent=parent)

    def add_prompt(self, *, is_held_out: bool = False) -> Prompt:
        return Prompt.objects.create(
            prompt_set=self.study.prompt_set,
            text=f"prompt {next(_numbers)}",
            is_held_out=is_held_out,
        )

    def add_clip(self, prompt: Prompt, checkpoint: Checkpoint) -> Clip:
        number = next(_numbers)
        return Clip.objects.create(
            prompt=prompt,
            checkpoint=checkpoint,
            status=ClipStatus.READY,
            requested_duration_s=2.0,
            seed=number,
            header=[1, 2, 3],
            codes_path=f"clips/{number}.npy",
            codes_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
            audio_path=f"clips/{number}.wav",
            audio_sha256=hashlib.sha256(f"audio {number}".encode()).hexdigest(),
            duration_s=2.0,
            sample_rate_hz=16_000,
            gain_db=-3.0,
        )

    def add_pair(
        self,
        first: Checkpoint | None = None,
        second: Checkpoint | None = None,
        *,
        prompt: Prompt | None = None,
    ) -> Pair:
        """A training pair of the base, or a judging pair of two checkpoints."""
        first, second = first or self.base, second or self.base
        prompt = prompt or self.add_prompt()
        return Pair.objects.create(
            study=self.study,
            prompt=prompt,
            purpose=PairPurpose.TRAINING if first == second else PairPurpose.JUDGING,
            first_clip=self.add_clip(prompt, first),
            second_clip=self.add_clip(prompt, second),
            first_checkpoint=first,
            second_checkpoint=second,
            is_ready=True,
        )

    def rater(self, index: int = 0) -> Rater:
        """The study's rater of that number, made when there is none yet."""
        while len(self.raters) <= index:
            is_simulated = self.population == Population.REHEARSAL
            self.raters.append(create_rater(is_simulated=is_simulated))
        return self.raters[index]

    def rate(
        self, pair: Pair, choice: str = Choice.A, *, rater: int = 0, is_swapped: bool = False
    ) -> Rating:
        person = self.rater(rater)
        assignment = Assignment.objects.create(
            pair=pair,
            rater=person,
            is_swapped=is_swapped,
            state=AssignmentState.ANSWERED,
            propensity=1.0,
            lease_until=timezone.now() + timedelta(hours=1),
        )
        return Rating.objects.create(
            client_id=uuid4(),
            assignment=assignment,
            pair=pair,
            rater=person,
            choice=choice,
            is_simulated=person.is_simulated,
        )

    def rate_pairs(self, choices: Iterable[str]) -> list[Rating]:
        """One new training pair and rating for each choice."""
        return [self.rate(self.add_pair(), choice) for choice in choices]


def rated_study(
    folder: Path, *, population: Population = Population.PEOPLE, slug: str = "first"
) -> RatedStudy:
    """An empty study whose base checkpoint is the anchor of its population."""
    prompt_set = PromptSet.objects.create(name=f"prompts of {slug}")
    study = Study.objects.create(
        slug=slug, name=slug, population=population, prompt_set=prompt_set, clip_duration_s=2.0
    )
    base = add_checkpoint(folder=write_checkpoint(folder / "base", name="base"))
    enter_rotation(
        checkpoint=base,
        population=population,
        role=RotationRole.ANCHOR,
        share=1.0,
        reason="The first checkpoint.",
    )
    return RatedStudy(study=study, base=base, folder=folder)
