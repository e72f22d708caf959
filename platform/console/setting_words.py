"""What a study asks of its raters, in words."""

from attune.ratings.choices import Aspect
from attune.ratings.models import Study
from console.templatetags.console_figures import figure, percent, seconds


def setting_words(study: Study) -> list[tuple[str, str]]:
    """What the study sets, each with its sentence, in the order in which raters meet it."""
    return [
        ("Question", f"“{study.question}”"),
        ("Clips", f"{figure(study.clip_duration_s)} s each. {_listening(study)}"),
        ("Answers", _answers(study)),
        ("Second thoughts", _second_thoughts(study)),
        ("Sitting", _sitting(study)),
        ("Raters a pair", _raters(study)),
        ("Pool", _pool(study)),
        ("Kinds of pairs", _shares(study)),
    ]


def _listening(study: Study) -> str:
    if not study.minimum_listening_s:
        return "An answer is taken before anything was heard."
    return f"An answer is taken once {figure(study.minimum_listening_s)} s of each clip were heard."


def _answers(study: Study) -> str:
    told = "A, B, tie or both bad"
    if study.asks_strength:
        told += "; after A or B, how much better it was"
    aspects = [Aspect(name).label for name in study.aspects]
    if aspects:
        told += f"; then, one by one, {', '.join(aspects)}"
    return f"{told}."


def _second_thoughts(study: Study) -> str:
    if study.shows_history:
        return "All answers of a sitting are listed and can be changed until a round uses them."
    return "Only the last answer can be changed, until a round uses it."


def _sitting(study: Study) -> str:
    pairs = _counted(study.pairs_per_session, "pair")
    if not study.break_after_min:
        return f"{pairs}, without an offered break."
    return f"{pairs}; a break is offered after {_counted(study.break_after_min, 'minute')}."


def _raters(study: Study) -> str:
    held = f"A pair is kept for whoever has it for {seconds(study.assignment_lease_s)}."
    return f"{_counted(study.overlap, 'rating')} and no more. {held}"


def _pool(study: Study) -> str:
    if not study.pool_target:
        return "None: pairs are made on request alone."
    return f"{_counted(study.pool_target, 'pair')} kept ready ahead of the raters."


def _shares(study: Study) -> str:
    gold = f"{percent(study.gold_share)} gold" if study.gold_share else "no gold pairs"
    repeats = f"{percent(study.repeat_share)} repeats" if study.repeat_share else "no repeats"
    judging = f"{percent(study.judging_share)} of the pool’s pairs judge"
    return f"Raters hear {gold} and {repeats}; {judging} two checkpoints, the others train."


def _counted(number: int, noun: str) -> str:
    return f"{figure(number)} {noun}{'' if number == 1 else 's'}"
