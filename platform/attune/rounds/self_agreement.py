"""How often a study's raters agree with themselves, by the pairs that they were shown again."""

from attune.catalog.models import Population
from attune.ratings.choices import PairPurpose
from attune.ratings.models import Rating, Study
from attune.ratings.trust import Share, said_of
from attune.ratings.trust_selectors import ANSWER_FIELDS, answer_row, is_excluded


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
        .values_list("rater_id", *ANSWER_FIELDS)
    )
    again = list(found.filter(assignment__is_repeat=True))
    if not again:
        return Share(0, 0)
    firsts = found.filter(assignment__is_repeat=False, pair__assignments__is_repeat=True)
    said = {row[:2]: said_of(answer_row(*row[1:])) for row in firsts}
    alike = [said[row[:2]] == said_of(answer_row(*row[1:])) for row in again if row[:2] in said]
    return Share(sum(alike), len(alike))
