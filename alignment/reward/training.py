"""A run from its folder to a published reward model: resumable by member of the ensemble."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignment.errors import RunFolderError
from alignment.progress import append_line, earlier_wall_s
from alignment.ranks import Ranks
from alignment.reward.calibration import DecidedRatings, helpful_temperature
from alignment.reward.config import RewardConfig
from alignment.reward.heads import PENALTIES, USUAL_PENALTY, Head, RatedPairs, cross_fit, fit_head
from alignment.reward.material import Material, read_material
from alignment.reward.model import RewardModel
from alignment.reward.publishing import MEMBERS_STREAM, Chosen, publish
from alignment.reward.report import measure
from alignment.reward.splits import bootstrap_weights, folds_by_prompt
from alignment.runs import CHECKPOINTS_FOLDER, PROGRESS_FILE, Preference, RunFolder
from alignment.stopping import StopSwitch
from alignment.trackers import open_trackers
from alignment.training import published_summary
from generator.files import write_json

FOLDS_STREAM = 1
MOST_DRAWS = 100

Floats = NDArray[np.float64]


def train_reward_run(run: RunFolder, *, stop: StopSwitch, device: str = "cpu") -> dict[str, Any]:
    """Fits a run's reward model, publishes it and returns the summary.

    May be called again at any time: members that were finished are not fitted again, and a run
    with a result returns its summary at once. Raises StopRequested when `stop` was thrown. Of
    several ranks the first does everything: it takes seconds.
    """
    if not Ranks.of_environment().is_first:
        return {}
    if run.result.is_dir():
        return published_summary(run)
    began_at = time.monotonic() - earlier_wall_s(run.path / PROGRESS_FILE)
    material = read_material(run, device)
    stop.raise_if_requested()
    rng = np.random.default_rng([material.config.seed, FOLDS_STREAM])
    chosen = choose(material, rng)
    stop.raise_if_requested()
    heads = fit_members(material, chosen, stop, began_at)
    model = RewardModel(material.reader, material.standard, heads, chosen.temperature)
    publish(material, model, chosen, began_at)
    return published_summary(run)


def choose(material: Material, rng: np.random.Generator) -> Chosen:
    """Returns penalty and temperature, by cross-validation over prompts of the training pairs.

    Where all pairs are of one prompt there is nothing to hold out: usual values are taken.
    """
    config, rows = material.config, material.split.train
    asked = (config.penalty,) if config.penalty else PENALTIES
    folds = folds_by_prompt(rows, config.n_folds, rng)
    pairs = material.pairs(rows)
    if not _can_cross_fit(pairs, folds):
        return Chosen(config.penalty or USUAL_PENALTY, 1.0, None)
    found = cross_fit(pairs.weighed(_weights(rows)), folds, asked, config.tie_model)
    counts = pairs.counts
    ratings = DecidedRatings(found.margins, counts[:, 0], counts[:, 1])
    temperature = helpful_temperature(ratings)
    measured = measure(found.margins / temperature, counts, (), config.tie_model)
    return Chosen(found.penalty, temperature, measured)


def _can_cross_fit(pairs: RatedPairs, folds: NDArray[np.int64]) -> bool:
    decided = np.asarray(pairs.counts[:, :2].any(axis=1))
    each = [bool(decided[folds != fold].any()) for fold in np.unique(folds)]
    return len(each) > 1 and all(each)


def fit_members(
    material: Material, chosen: Chosen, stop: StopSwitch, run_began_at: float
) -> list[Head]:
    """Returns the heads of all bootstraps; those an earlier process finished are read.

    run_began_at: on the monotonic clock, less what earlier attempts took.
    """
    run, config = material.run, material.config
    folder = run.path / CHECKPOINTS_FOLDER
    folder.mkdir(exist_ok=True)
    pairs = material.pairs(material.split.train)
    judged = material.split.disjoint or material.split.held_out
    held_out = material.pairs(judged) if judged else None
    heads: list[Head] = []
    stored = [folder / f"member-{number}.json" for number in range(config.n_members)]
    n_stored = sum(path.is_file() for path in stored)
    trackers = open_trackers(
        run.path,
        name=run.name,
        config={"method": run.method, **config.to_mapping()},
        first_step=n_stored,
    )
    began_at = time.monotonic()
    for number, path in enumerate(stored):
        if path.is_file():
            heads.append(_read_head(path))
            continue
        stop.raise_if_requested()
        rng = np.random.default_rng([config.seed, MEMBERS_STREAM, number])
        weights = _drawn_weights(material.split.train, rng) * _weights(material.split.train)
        head = fit_head(pairs.weighed(weights), chosen.penalty, config.tie_model)
        write_json(path, {"weights": head.weights.tolist(), "tie_share": head.tie_share})
        heads.append(head)
        figures = _figures(heads, pairs, "", config)
        if held_out is not None:
            figures |= _figures(heads, held_out, "held_out_", config)
        n_left = config.n_members - number - 1
        eta_s = (time.monotonic() - began_at) / max(1, number + 1 - n_stored) * n_left
        append_line(
            run.path / PROGRESS_FILE,
            {
                "step": number + 1,
                "n_steps": config.n_members,
                **figures,
                "eta_s": round(eta_s, 1),
                "wall_s": round(time.monotonic() - run_began_at, 1),
            },
        )
        for tracker in trackers:
            tracker.log(number + 1, figures)
    for tracker in trackers:
        tracker.close()
    return heads


def _figures(
    heads: Sequence[Head], pairs: RatedPairs, prefix: str, config: RewardConfig
) -> dict[str, float]:
    """Returns loss and accuracy of the ensemble so far."""
    margins = pairs.differences @ np.mean([head.weights for head in heads], axis=0)
    found = measure(margins, pairs.counts, heads, config.tie_model)
    if found is None:
        return {}
    return {
        f"{prefix}loss": found.log_loss,
        f"{prefix}accuracy": found.accuracy.share,
        f"{prefix}n": found.accuracy.n,
        f"{prefix}margin": float(margins.mean()),
    }


def _drawn_weights(rows: Sequence[Preference], rng: np.random.Generator) -> Floats:
    """Returns the weights of a bootstrap in which some rating is decided."""
    decided = np.array([row.counts.decided > 0 for row in rows])
    for _ in range(MOST_DRAWS):
        weights = bootstrap_weights(rows, rng)
        if weights[decided].any():
            return weights
    raise RunFolderError(
        f"{MOST_DRAWS} bootstraps of {len(rows)} preferences held no decided rating: "
        f"only {int(decided.sum())} of them have one"
    )


def _read_head(path: Path) -> Head:
    try:
        stored = json.loads(path.read_text())
        return Head(np.array(stored["weights"], np.float64), stored["tie_share"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise RunFolderError(f"{path} is no finished member: {exc}") from exc


def _weights(rows: Sequence[Preference]) -> Floats:
    """Returns how much each row's ratings count, [N].

    A row's counts say how sure it is; its weight does so only where the ratings are not counted.
    """
    return np.array([row.weight if row.counts.total == 1 else 1.0 for row in rows])
