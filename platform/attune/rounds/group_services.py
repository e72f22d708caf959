"""Groups of raters whose taste a round may learn apart from the others'."""

import re
from collections.abc import Collection
from uuid import UUID

import structlog
from django.db import transaction

from attune.raters.models import Rater
from attune.rounds.errors import RoundError
from attune.rounds.models import RaterGroup

log = structlog.get_logger(__name__)

GROUP_NAME = re.compile(r"[-a-zA-Z0-9_]{1,80}", re.ASCII)


@transaction.atomic
def set_rater_group(*, name: str, pseudonyms: Collection[UUID]) -> RaterGroup:
    """The group of that name with exactly these raters, made if there was none."""
    if GROUP_NAME.fullmatch(name) is None:
        raise RoundError(
            "a rater group's name has 1 to 80 letters, digits, dashes and underscores, "
            f"got {name!r}"
        )
    raters = list(Rater.objects.filter(pseudonym__in=pseudonyms))
    if missing := sorted(set(pseudonyms) - {rater.pseudonym for rater in raters}):
        raise RoundError(f"{len(missing)} of {len(pseudonyms)} raters are unknown: {missing[0]}")
    group, _ = RaterGroup.objects.get_or_create(name=name)
    group.raters.set(raters)
    log.info("rater_group_set", group=name, n_raters=len(raters))
    return group
