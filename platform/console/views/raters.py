"""Raters: how far their answers can be trusted, whether they are used, whether work is accepted."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from attune.catalog.models import Population
from attune.raters.models import Rater
from attune.ratings.errors import TrustError
from attune.ratings.trust import GOLD_RULE, Share
from attune.ratings.trust_models import RaterExclusion
from attune.ratings.trust_selectors import RaterTrust, rater_trusts, rating_raters
from attune.ratings.trust_services import exclude_rater, lift_exclusion
from console.access import action, page
from console.pages import chosen_population, csv_answer, show, wants_csv

SHOWN_RATERS = 50
CSV_RATERS = 1000
CSV_HEADER = (
    *("pseudonym", "n_ratings", "gold_found", "gold_decided", "gold_low", "gold_high"),
    *("repeats_agreeing", "repeats", "agreement_low", "agreement_high", "side_a", "of_a_or_b"),
    *("side_a_low", "side_a_high", "ties", "both_bad", "median_s", "median_low_s"),
    *("median_high_s", "warnings", "excluded_by", "work_accepted"),
)


@page
def rater_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """The raters of one population with their figures and intervals."""
    is_simulated = chosen_population(request) == Population.REHEARSAL
    found = rating_raters(is_simulated=is_simulated)
    if wants_csv(request):
        rows = [_csv_row(trust) for trust in rater_trusts(found[:CSV_RATERS])]
        return csv_answer("raters", CSV_HEADER, rows)
    return show(
        request,
        "rater_list",
        section="raters",
        may_act=may_act,
        trusts=rater_trusts(found[:SHOWN_RATERS]),
        n_raters=found.count(),
        rule=GOLD_RULE,
    )


@action
def exclude(request: HttpRequest) -> HttpResponse:
    """Leaves a rater's answers out of datasets, with a reason."""
    return _decide(request, exclude_rater, "Answers of {} are left out of new datasets.")


@action
def lift(request: HttpRequest) -> HttpResponse:
    """Lets a rater's answers count again, with a reason."""
    return _decide(request, lift_exclusion, "Answers of {} count again.")


def _decide(request: HttpRequest, decide: Callable[..., RaterExclusion], done: str) -> HttpResponse:
    """Decides about the rater that the form names, and says what came of it."""
    named = request.POST.get("rater", "")
    try:
        rater = Rater.objects.get(pseudonym=UUID(named))
        reason = request.POST.get("reason", "")
        decide(rater=rater, actor=request.user, reason=reason, now=timezone.now())
    except (ValueError, Rater.DoesNotExist):
        messages.error(request, f"There is no rater {named[:40]!r}.")
    except TrustError as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, done.format(rater.pseudonym))
    return redirect("console:raters")


def _csv_row(trust: RaterTrust) -> tuple[object, ...]:
    figures = trust.figures
    low_s, high_s = figures.time.interval_s or (None, None)
    return (
        *(str(trust.rater.pseudonym), trust.n_ratings),
        *_cells(figures.gold),
        *_cells(figures.agreement),
        *_cells(figures.side_a),
        *(figures.ties.n, figures.both_bad.n, figures.time.value_s, low_s, high_s),
        *(trust.n_warnings, trust.exclusion.rule if trust.exclusion else ""),
        " ".join(decision.study.slug for decision in trust.work if decision.is_accepted),
    )


def _cells(share: Share) -> tuple[float, ...]:
    return (share.n, share.of, *(round(bound, 4) for bound in share.interval))
