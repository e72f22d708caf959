"""What a loss is told of a pair's ratings."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignment.collation import ClipRows, PreferenceCollator, Target, pair_targets
from alignment.config import DpoConfig
from alignment.face import FlatAudioLM
from alignment.kto import RatedClipCollator, rated_clips
from alignment.outcomes import Counts, Outcome
from alignment.runs import Preference
from tests.tiny import tiny_core
from tests.unit.alignment.planted import sample_pairs, write_preferences

WON = Preference(pair="1", header=(0,), chosen=Path("a"), rejected=Path("b"))
DISPUTED = replace(WON, counts=Counts(chosen=3, rejected=1, tie=1, both_bad=2), weight=0.5)
TIED = replace(WON, outcome=Outcome.TIE, counts=Counts(tie=2))
BAD = replace(WON, outcome=Outcome.BOTH_BAD, counts=Counts(both_bad=1))


def target(row: Preference, soft_labels: bool = True, reads_ties: bool = False) -> Target:
    return Target.of(row, soft_labels=soft_labels, reads_ties=reads_ties)


@pytest.mark.parametrize(
    ("row", "options", "expected"),
    [
        (WON, (True, False), (1.0, 0.0, 0.0, 1.0, 1.0)),
        (replace(WON, weight=0.5), (True, False), (1.0, 0.0, 0.0, 0.5, 1.0)),
        # Three of four say so; the weight of 0.5 says the same once more and is left out.
        (DISPUTED, (True, False), (0.75, 0.25, 0.0, 1.0, 1.0)),
        (DISPUTED, (False, False), (1.0, 0.0, 0.0, 0.5, 1.0)),
        (DISPUTED, (True, True), (0.6, 0.2, 0.2, 1.0, 1.0)),
        (TIED, (True, True), (0.0, 0.0, 1.0, 1.0, 0.0)),
        (TIED, (False, True), (0.0, 0.0, 1.0, 1.0, 0.0)),
    ],
)
def test_a_pair_tells_the_shares_of_its_ratings_or_its_weight(
    row: Preference, options: tuple[bool, bool], expected: tuple[float, ...]
) -> None:
    assert tuple(vars(target(row, *options)).values()) == pytest.approx(expected)


def test_weights_are_told_beside_their_mean() -> None:
    rows = [replace(WON, weight=0.5), replace(WON, weight=1.0)]
    targets = pair_targets(rows, soft_labels=True, reads_ties=False, mean_weight=0.75)
    assert targets.weight.tolist() == pytest.approx([2 / 3, 4 / 3])


def test_equal_weights_are_no_weights(tmp_path: Path) -> None:
    core = tiny_core()
    written = write_preferences(tmp_path, sample_pairs(core, 2), [True, False])
    light = [replace(row, weight=0.2) for row in written]
    collator = PreferenceCollator(FlatAudioLM(core).vocabulary, light, 25)
    assert collator([{"row": 0}, {"row": 1}])["targets"]["weight"].tolist() == [1.0, 1.0]


def test_rated_clips_are_good_or_bad_and_ties_neither() -> None:
    clips = rated_clips([WON, TIED, BAD])
    assert [(str(clip.codes), clip.is_desirable) for clip in clips] == [
        ("a", True),
        ("b", False),
        ("a", False),
        ("b", False),
    ]


def test_clips_of_a_batch_follow_each_others_prompts_in_turn(tmp_path: Path) -> None:
    core = tiny_core()
    written = write_preferences(tmp_path, sample_pairs(core, 2), [True, True])
    vocabulary = FlatAudioLM(core).vocabulary
    collator = RatedClipCollator(ClipRows(vocabulary, 25), rated_clips(written), 50.0)
    batch = collator([{"row": place} for place in range(4)])
    assert batch["label"].tolist() == [True, False, True, False]
    own, other = vocabulary.split(batch["input_ids"]), vocabulary.split(batch["KL_input_ids"])
    assert torch.equal(own.text, other.text)
    assert torch.equal(own.grid.roll(1, dims=0), other.grid)
    assert not torch.equal(own.grid, other.grid)


def test_a_default_run_reads_soft_labels() -> None:
    assert DpoConfig().soft_labels
