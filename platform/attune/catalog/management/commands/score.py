"""`manage.py score REWARD_MODEL`: has a reward model score clips, or lists the best of them."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from attune.catalog.errors import CatalogError
from attune.catalog.models import Checkpoint, CheckpointKind, PromptSet
from attune.catalog.score_services import clip_scores, request_scores
from attune.catalog.selectors import find_checkpoint


class Command(BaseCommand):
    """Scoring is safe to repeat: a clip that has a score is left alone."""

    help = "Have a reward model score clips of the catalog, or list those with the best scores."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("reward_model", metavar="REWARD_MODEL")
        parser.add_argument("--clip", dest="clips", action="append", type=UUID, metavar="ID")
        parser.add_argument("--prompt-set", metavar="NAME")
        parser.add_argument("--made-by", metavar="CHECKPOINT")
        parser.add_argument("--list", type=int, metavar="N", help="show the best N; score nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        model = get_checkpoint(options["reward_model"])
        if options["list"] is not None:
            self.list_scores(model, options["list"])
            return
        prompt_set = None
        if options["prompt_set"]:
            prompt_set = PromptSet.objects.filter(name=options["prompt_set"]).first()
            if prompt_set is None:
                raise CommandError(f"no prompt set {options['prompt_set']!r}")
        try:
            job = request_scores(
                reward_model=model,
                clips=options["clips"],
                prompt_set=prompt_set,
                made_by=get_checkpoint(options["made_by"]) if options["made_by"] else None,
            )
        except CatalogError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(f"job {job.pk} scores with {model.name}; a device worker carries it out")

    def list_scores(self, model: Checkpoint, n_shown: int) -> None:
        """Print a line of tab-separated fields for each of the best clips."""
        self.stdout.write("clip\tmean\tstd\tcheckpoint\tprompt")
        for score in clip_scores(model)[:n_shown]:
            fields = (score.clip_id, f"{score.mean:.4f}", f"{score.std:.4f}")
            rest = (score.clip.checkpoint.name, score.clip.prompt.text)
            self.stdout.write("\t".join(map(str, (*fields, *rest))))


def get_checkpoint(name: str) -> Checkpoint:
    """The checkpoint of that name; CommandError names the reward models there are."""
    found = find_checkpoint(name)
    if found is None:
        known = Checkpoint.objects.filter(kind=CheckpointKind.REWARD).order_by("name")
        names = ", ".join(known.values_list("name", flat=True))
        raise CommandError(f"no checkpoint {name!r}; reward models are: {names or 'none'}")
    return found
