"""`manage.py raters ...`: figures of raters, and exclusions made and lifted, in a terminal."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from attune.catalog.models import Population
from attune.raters.models import Rater
from attune.ratings.errors import TrustError
from attune.ratings.trust import Share
from attune.ratings.trust_selectors import RaterTrust, rater_trusts, rating_raters
from attune.ratings.trust_services import exclude_rater, lift_exclusion

SHOWN_RATERS = 50


class Command(BaseCommand):
    """Reading changes nothing; what is decided is on record with the account that decided."""

    help = "List raters with their figures, exclude one from datasets, or lift an exclusion."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="one rater a line, the busiest first")
        listing.add_argument(
            "--population", choices=Population.values, default=Population.PEOPLE.value
        )
        listing.add_argument("--limit", type=int, default=SHOWN_RATERS)
        for name, told in (
            ("exclude", "leave a rater's answers out of datasets frozen from now on"),
            ("lift", "let a rater's answers count again, old ones too"),
        ):
            deciding = actions.add_parser(name, help=told)
            deciding.add_argument("pseudonym", type=UUID)
            deciding.add_argument("--reason", required=True, help="kept on record")
            deciding.add_argument("--by", required=True, metavar="USER", help="who decides")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            is_simulated = options["population"] == Population.REHEARSAL
            raters = rating_raters(is_simulated=is_simulated)[: options["limit"]]
            for trust in rater_trusts(raters):
                self.stdout.write(_line(trust))
            return
        decide = exclude_rater if options["action"] == "exclude" else lift_exclusion
        try:
            exclusion = decide(
                rater=_get_rater(options["pseudonym"]),
                actor=_get_user(options["by"]),
                reason=options["reason"],
                now=timezone.now(),
            )
        except TrustError as exc:
            raise CommandError(str(exc)) from exc
        state = "left out" if exclusion.lifted_at is None else "used again"
        self.stdout.write(f"{options['pseudonym']}: {state} ({exclusion.rule})")


def _get_rater(pseudonym: UUID) -> Rater:
    rater = Rater.objects.filter(pseudonym=pseudonym).first()
    if rater is None:
        raise CommandError(f"no rater {pseudonym}")
    return rater


def _get_user(name: str) -> User:
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"no account {name!r}")
    return user


def _line(trust: RaterTrust) -> str:
    figures = trust.figures
    median = "-" if figures.time.value_s is None else f"{figures.time.value_s:.0f} s"
    used = f"left out by {trust.exclusion.rule}" if trust.exclusion else "used"
    return (
        f"{trust.rater.pseudonym}  {trust.n_ratings} ratings  gold {_told(figures.gold)}  "
        f"repeats {_told(figures.agreement)}  side A {_told(figures.side_a)}  "
        f"ties {_told(figures.ties)}  median {median}  {used}"
    )


def _told(share: Share) -> str:
    low, high = share.interval
    return f"{share.n}/{share.of} ({low:.2f} to {high:.2f})"
