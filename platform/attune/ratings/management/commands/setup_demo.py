"""`manage.py setup_demo`: the starter checkpoint, its prompts and a first study."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from attune.catalog.errors import CatalogError
from attune.catalog.models import Population, RotationRole
from attune.catalog.prompt_files import STARTER_PROMPTS, read_prompt_file
from attune.catalog.services import (
    add_checkpoint,
    add_prompt_set,
    add_prompts,
    enter_rotation,
)
from attune.ratings.models import Study
from attune.ratings.services import create_study

STUDY_SLUG = "first-listen"


class Command(BaseCommand):
    """Safe to repeat: what is there already stays as it is."""

    help = "Register the starter checkpoint as anchor, its prompts, and the study first-listen."

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(settings.ATTUNE_STARTER)
        try:
            checkpoint = add_checkpoint(folder=folder)
            for population in Population:
                enter_rotation(
                    checkpoint=checkpoint,
                    population=population,
                    role=RotationRole.ANCHOR,
                    share=1.0,
                    reason="the starter checkpoint, with which others are compared",
                )
            prompt_file = read_prompt_file(STARTER_PROMPTS)
        except CatalogError as exc:
            raise CommandError(f"the starter checkpoint cannot be set up: {exc}") from exc
        prompt_set = add_prompt_set(name=prompt_file.name, description=prompt_file.description)
        n_new = len(add_prompts(prompt_set=prompt_set, rows=prompt_file.rows))
        self.stdout.write(f"checkpoint {checkpoint.name!r} anchors both rotations")
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
        )
        self.stdout.write(f"study {STUDY_SLUG!r} is open")
