"""`manage.py setup_demo`: the starter checkpoint, its prompts and a first study."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from attune.catalog.cards import read_card
from attune.catalog.errors import CatalogError
from attune.catalog.models import Checkpoint, Population, RotationEntry, RotationRole
from attune.catalog.prompt_files import STARTER_PROMPTS, read_prompt_file
from attune.catalog.services import (
    add_checkpoint,
    add_prompt_set,
    add_prompts,
    enter_rotation,
)
from attune.catalog.storage import keep_checkpoint
from attune.raters.consent_services import write_consent_text
from attune.raters.models import ConsentText
from attune.ratings.arrival_models import DeviceCheckRule
from attune.ratings.models import Study
from attune.ratings.services import create_study

STUDY_SLUG = "first-listen"
CONSENT_NAME = "listening"
CONSENT_FILE = Path(__file__).resolve().parents[2] / "data" / "consent.txt"


class Command(BaseCommand):
    """Safe to repeat: what is there already stays as it is."""

    help = "Register the starter checkpoint as anchor, its prompts, and the study first-listen."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            checkpoint = self._add_starter(Path(settings.ATTUNE_STARTER))
            for population in Population:
                self._enter(checkpoint, population)
            prompt_file = read_prompt_file(STARTER_PROMPTS)
        except CatalogError as exc:
            raise CommandError(f"the starter checkpoint cannot be set up: {exc}") from exc
        prompt_set = add_prompt_set(name=prompt_file.name, description=prompt_file.description)
        n_new = len(add_prompts(prompt_set=prompt_set, rows=prompt_file.rows))
        self.stdout.write(f"prompt set {prompt_set.name!r}: {n_new} prompts added")
        if Study.objects.filter(slug=STUDY_SLUG).exists():
            self.stdout.write(f"study {STUDY_SLUG!r} is there already")
            return
        create_study(
            slug=STUDY_SLUG,
            name="First listen",
            population=Population.PEOPLE,
            prompt_set=prompt_set,
            clip_duration_s=10.0,
            minimum_listening_s=5.0,
            overlap=1,
            pool_target=12,
            consent=self._write_consent(),
            asks_volume=True,
            device_check=DeviceCheckRule.RECORD,
            n_practice=3,
        )
        self.stdout.write(f"study {STUDY_SLUG!r} is open")

    def _write_consent(self) -> ConsentText:
        title, _, text = CONSENT_FILE.read_text(encoding="utf-8").partition("\n")
        written, _ = write_consent_text(name=CONSENT_NAME, title=title, text=text)
        return written

    def _add_starter(self, folder: Path) -> Checkpoint:
        """The starter as this version ships it; an older one keeps its name and its folder."""
        card = read_card(folder)
        older = Checkpoint.objects.filter(name=card.name).exclude(content_hash=card.content_hash)
        name = f"{card.name}-{card.content_hash[:8]}" if older.exists() else card.name
        return add_checkpoint(folder=keep_checkpoint(folder), name=name)

    def _enter(self, checkpoint: Checkpoint, population: Population) -> None:
        """Anchors a population's rotation, unless another checkpoint does already."""
        entries = RotationEntry.objects.filter(population=population, role=RotationRole.ANCHOR)
        other = entries.exclude(checkpoint=checkpoint).first()
        if other is not None:
            self.stdout.write(
                f"checkpoint {checkpoint.name!r} is registered; {other.checkpoint.name!r} stays "
                f"the anchor of {population.label.lower()}"
            )
            return
        enter_rotation(
            checkpoint=checkpoint,
            population=population,
            role=RotationRole.ANCHOR,
            share=1.0,
            reason="the starter checkpoint, with which others are compared",
        )
        self.stdout.write(f"checkpoint {checkpoint.name!r} anchors {population.label.lower()}")
