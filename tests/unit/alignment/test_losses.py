"""Losses of pairs, by hand: what each costs, and what TRL's own cost on the same numbers."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from alignment.config import PairLoss
from alignment.losses import (
    LogRatios,
    OutcomeLogProbs,
    PairLosses,
    PairTargets,
    davidson,
    pair_losses,
    rao_kupper,
)

ONE_WIN = PairTargets(
    win=torch.tensor([1.0]),
    defeat=torch.tensor([0.0]),
    tie=torch.tensor([0.0]),
    weight=torch.tensor([1.0]),
    imitated=torch.tensor([1.0]),
)
ONE_TIE = replace(
    ONE_WIN,
    win=torch.tensor([0.0]),
    tie=torch.tensor([1.0]),
    imitated=torch.tensor([0.0]),
)


def losses(
    kind: PairLoss,
    chosen: list[float] | Tensor,
    rejected: list[float] | Tensor,
    targets: PairTargets = ONE_WIN,
    **changed: float,
) -> PairLosses:
    """Returns the losses of log-ratios at beta 2 and no likelihood term."""
    settings = {"beta": 2.0, "sft_weight": 0.0, "label_smoothing": 0.0, "tie_share": 0.5, **changed}
    ratios = LogRatios(torch.as_tensor(chosen), torch.as_tensor(rejected))
    nll = torch.full_like(ratios.chosen, 3.0)
    return pair_losses(kind, ratios, targets, nll, **settings)


@pytest.mark.parametrize(
    ("kind", "changed", "expected"),
    [
        # The reward difference is 2 * (0.3 - (-0.2)) = 1.
        (PairLoss.SIGMOID_NORM, {}, math.log(1 + math.exp(-1))),
        (PairLoss.SIGMOID, {}, math.log(1 + math.exp(-1))),
        (PairLoss.IPO, {}, (1 - 0.5) ** 2),
        (
            PairLoss.ROBUST,
            {"label_smoothing": 0.2},
            (0.8 * math.log(1 + math.exp(-1)) - 0.2 * math.log(1 + math.exp(1))) / 0.6,
        ),
        # Rewards 0.6 and -0.4 of the two clips.
        (PairLoss.APO_ZERO, {}, 1 - 1 / (1 + math.exp(-0.6)) + 1 / (1 + math.exp(0.4))),
        # Equals tie half the time with nu = 3 and nu = 1.
        (PairLoss.RAO_KUPPER, {}, math.log(1 + 3 * math.exp(-1))),
        (PairLoss.DAVIDSON, {}, math.log(1 + math.exp(-1) + 2 * math.exp(-0.5))),
    ],
)
def test_a_won_pair_costs_what_the_formula_says(
    kind: PairLoss, changed: dict[str, float], expected: float
) -> None:
    found = losses(kind, [0.3], [-0.2], **changed)
    assert found.preference.item() == pytest.approx(expected, abs=1e-6)
    assert found.total.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("outcomes", [rao_kupper, davidson])
@pytest.mark.parametrize("tie_share", [0.1, 0.5, 0.8])
def test_win_defeat_and_tie_are_all_that_can_happen(
    outcomes: Callable[[Tensor, float], OutcomeLogProbs], tie_share: float
) -> None:
    reward = torch.tensor([-6.0, -1.0, 0.0, 0.5, 40.0])
    found = outcomes(reward, tie_share)
    total = found.win.exp() + found.defeat.exp() + found.tie.exp()
    assert torch.allclose(total, torch.ones(5), atol=1e-6)
    assert found.tie.exp()[2].item() == pytest.approx(tie_share, abs=1e-6)
    assert torch.allclose(found.win, outcomes(-reward, tie_share).defeat)


@pytest.mark.parametrize(
    ("kind", "probabilities"),
    [
        # With a reward difference of 1: nu = 3 of Rao and Kupper, nu = 1 of Davidson.
        (PairLoss.RAO_KUPPER, (0.47536689, 0.10923177, 0.41540134)),
        (PairLoss.DAVIDSON, (0.38745562, 0.14253696, 0.47000742)),
    ],
)
def test_the_three_outcomes_of_a_pair_have_these_probabilities(
    kind: PairLoss, probabilities: tuple[float, float, float]
) -> None:
    found = {PairLoss.RAO_KUPPER: rao_kupper, PairLoss.DAVIDSON: davidson}[kind](
        torch.tensor([1.0]), 0.5
    )
    logarithms = (found.win, found.defeat, found.tie)
    assert [value.exp().item() for value in logarithms] == pytest.approx(probabilities, abs=1e-6)


@pytest.mark.parametrize("kind", [PairLoss.RAO_KUPPER, PairLoss.DAVIDSON])
def test_a_tie_pulls_at_equally_liked_clips_not_at_all_and_at_others_together(
    kind: PairLoss,
) -> None:
    def pull(chosen: float, rejected: float) -> tuple[float, float]:
        first = torch.tensor([chosen], requires_grad=True)
        second = torch.tensor([rejected], requires_grad=True)
        losses(kind, first, second, ONE_TIE).total.backward()
        assert first.grad is not None
        assert second.grad is not None
        return first.grad.item(), second.grad.item()

    assert pull(0.7, 0.7) == pytest.approx((0.0, 0.0), abs=1e-7)
    down, up = pull(0.9, 0.4)
    assert down > 0.01  # going against the gradient lowers the clip that is liked more
    assert up == pytest.approx(-down)


def test_soft_labels_are_a_cross_entropy() -> None:
    shares = replace(ONE_WIN, win=torch.tensor([0.75]), defeat=torch.tensor([0.25]))
    expected = 0.75 * math.log(1 + math.exp(-1)) + 0.25 * math.log(1 + math.exp(1))
    found = losses(PairLoss.SIGMOID_NORM, [0.3], [-0.2], shares)
    assert found.preference.item() == pytest.approx(expected, abs=1e-6)

    # It is least where the odds of the reward difference are those of the ratings, 3 to 1.
    best = torch.tensor([math.log(3) / 2], requires_grad=True)
    losses(PairLoss.SIGMOID_NORM, best, torch.zeros(1), shares).total.backward()
    assert best.grad is not None
    assert best.grad.item() == pytest.approx(0.0, abs=1e-7)


def test_a_tie_aware_loss_hears_all_ratings_of_a_pair() -> None:
    shares = replace(
        ONE_WIN, win=torch.tensor([0.5]), defeat=torch.tensor([0.25]), tie=torch.tensor([0.25])
    )
    win, defeat, tie = 0.47536689, 0.10923177, 0.41540134
    expected = -(0.5 * math.log(win) + 0.25 * math.log(defeat) + 0.25 * math.log(tie))
    found = losses(PairLoss.RAO_KUPPER, [0.3], [-0.2], shares)
    assert found.preference.item() == pytest.approx(expected, abs=1e-5)


def test_a_batch_is_the_weighted_mean_and_ties_are_not_imitated() -> None:
    targets = PairTargets(
        win=torch.tensor([1.0, 0.0]),
        defeat=torch.tensor([0.0, 0.0]),
        tie=torch.tensor([0.0, 1.0]),
        weight=torch.tensor([1.5, 0.5]),
        imitated=torch.tensor([1.0, 0.0]),
    )
    found = losses(PairLoss.RAO_KUPPER, [0.0, 0.0], [0.0, 0.0], targets, sft_weight=0.1)
    # Equally liked: a win has probability 1/4, a tie 1/2; the likelihood term is 0.1 * 3.
    expected = (1.5 * (math.log(4) + 0.3) + 0.5 * math.log(2)) / 2
    assert found.total.item() == pytest.approx(expected, abs=1e-6)
    assert found.likelihood.tolist() == pytest.approx([4.5, 0.0])


def test_robust_loss_of_wrong_labels_is_on_average_the_loss_of_right_ones() -> None:
    right = losses(PairLoss.ROBUST, [0.3], [-0.2], label_smoothing=0.3).total
    wrong = losses(PairLoss.ROBUST, [-0.2], [0.3], label_smoothing=0.3).total
    plain = losses(PairLoss.SIGMOID_NORM, [0.3], [-0.2]).total
    assert (0.7 * right + 0.3 * wrong).item() == pytest.approx(plain.item(), abs=1e-6)
