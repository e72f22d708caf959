"""Which curves of a round are drawn together, from what its trainer logged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attune.rounds.models import RoundMetric
from attune.rounds.selectors import RoundDetail
from console.charts import LineChart, Series, line_chart


@dataclass(frozen=True)
class Curve:
    """One logged quantity in a picture; `spread` names the quantity of its standard deviation."""

    logged: str
    name: str
    tone: str
    spread: str = ""


@dataclass(frozen=True)
class Picture:
    """Curves that share an axis."""

    title: str
    curves: tuple[Curve, ...]
    guide: float | None = None
    is_share: bool = False


PICTURES = (
    Picture("Loss", (Curve("loss", "loss", "ink"),)),
    Picture("Reward margin", (Curve("margin", "margin", "a"),), guide=0.0),
    Picture(
        "Accuracy",
        (Curve("accuracy", "training", "a"), Curve("held_out_accuracy", "held out", "b")),
        guide=0.5,
        is_share=True,
    ),
    Picture(
        "Log-probability a code",
        (Curve("chosen_logp", "chosen", "a"), Curve("rejected_logp", "rejected", "b")),
    ),
    Picture(
        "Reward",
        (
            Curve("reward_mean", "training", "a", spread="reward_std"),
            Curve("held_out_reward", "held out", "b"),
            Curve("judge_reward", "unseen judge", "ok"),
        ),
    ),
    Picture("Divergence from the parent", (Curve("kl", "KL", "ink"),)),
    Picture("Diversity on held-out prompts", (Curve("diversity", "diversity", "ink"),)),
)
SHOWN_STEPS = 40
COLUMNS: Mapping[str, str] = {
    "loss": "Loss",
    "margin": "Margin",
    "accuracy": "Accuracy",
    "held_out_accuracy": "Held out",
    "chosen_logp": "Chosen",
    "rejected_logp": "Rejected",
    "kl": "KL",
    "reward_mean": "Reward",
    "reward_std": "Its spread",
    "held_out_reward": "Held-out reward",
    "judge_reward": "Judge",
    "diversity": "Diversity",
}
SHARES = frozenset({"accuracy", "held_out_accuracy"})


@dataclass(frozen=True)
class Cell:
    """A logged value in a table."""

    value: float | None
    is_share: bool


@dataclass(frozen=True)
class MetricTable:
    """What was logged at the latest steps, the newest first."""

    titles: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]
    n_left_out: int


def round_charts(detail: RoundDetail) -> list[LineChart]:
    """The pictures of a round for which anything was logged."""
    n_steps = detail.latest_metric.n_steps if detail.latest_metric else 0
    charts = (
        line_chart(
            picture.title,
            [
                Series(
                    curve.name,
                    curve.tone,
                    detail.series(curve.logged),
                    dict(detail.series(curve.spread)) if curve.spread else {},
                )
                for curve in picture.curves
            ],
            n_steps=n_steps,
            guide=picture.guide,
            is_share=picture.is_share,
        )
        for picture in PICTURES
    )
    return [chart for chart in charts if chart is not None]


def metric_table(metrics: Sequence[RoundMetric]) -> MetricTable:
    """The latest steps with the quantities that were logged at any."""
    logged = {name for metric in metrics for name in metric.values}
    names = [name for name in COLUMNS if name in logged]
    shown = list(metrics)[: -SHOWN_STEPS - 1 : -1]
    return MetricTable(
        titles=tuple(COLUMNS[name] for name in names),
        rows=tuple(
            (
                metric.step,
                tuple(Cell(metric.values.get(name), name in SHARES) for name in names),
            )
            for metric in shown
        ),
        n_left_out=len(metrics) - len(shown),
    )
