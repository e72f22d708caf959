"""How often a study's raters agree with themselves, by the pairs that they were shown again."""

from datetime import datetime

from attune.catalog.models import Population
from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.models import Rating, Study
from attune.ratings.trust import AnswerRow, Share, said_of
from attune.ratings.trust_selectors import is_excluded

Row = tuple[int, int, str, str, bool, bool, datetime, datetime]


def self_agreement(study: Study) -> Share:
    """Repeats that say of a pair what its first hearing said, of all whose first is known.

    All four choices are told apart. Gold pairs have a known answer and say nothing of taste;
    raters who left or are excluded are left out, as they are of what a round learns from.
    """
    found = (
        Rating.objects.filter(
            ~is_excluded("rater"),
            pair__study=study,
            is_simulated=study.population == Population.REHEARSAL,
            rater__withdrawn_at__isnull=True,
            pair__is_withdrawn=False,
        )
        .exclude(pair__purpose=PairPurpose.GOLD)
        .values_list(
            *("rater_id", "pair_id", "pair__purpose", "choice", "assignment__is_swapped"),
            *("assignment__is_repeat", "assignment__handed_out_at", "created_at"),
        )
    )
    again = list(found.filter(assignment__is_repeat=True))
    if not again:
        return Share(0, 0)
    firsts = found.filter(assignment__is_repeat=False, pair__assignments__is_repeat=True)
    said = {row[:2]: _said(row) for row in firsts}
    alike = [said[row[:2]] == _said(row) for row in again if row[:2] in said]
    return Share(sum(alike), len(alike))


def _said(row: Row) -> str:
    _, pair_id, purpose, choice, is_swapped, is_repeat, handed_out_at, answered_at = row
    return said_of(
        AnswerRow(
            pair_id=pair_id,
            purpose=PairPurpose(purpose),
            choice=Choice(choice),
            is_swapped=is_swapped,
            is_repeat=is_repeat,
            handed_out_at=handed_out_at,
            answered_at=answered_at,
        )
    )
