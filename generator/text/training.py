"""Training of the planner: drawn captions, synonyms, denials, comparisons and idle words."""

from __future__ import annotations

import logging
import random
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import assert_never

import torch
import torch.nn.functional as F

from generator.corpus.attributes import draw_attributes
from generator.corpus.captions import write_caption
from generator.text.beats import find_bpm
from generator.text.header import HEADER_VOCABULARY, SlotValue, encode_header
from generator.text.lexicon import OPPOSITES, Entry, entries, known_phrases
from generator.text.planner import Planner, PlannerConfig
from generator.text.reading import Mark
from generator.text.synonyms import FILLERS

logger = logging.getLogger(__name__)

IGNORED = -100
CAPTION_SHARE = 0.3
TYPO_SHARE = 0.15
FILLER_SHARE = 0.4
MARK_WEIGHTS = (73, 20, 7)
"""How often a drawn entry is wanted, denied and only compared to."""
DENYING = ("no {}", "not {}", "not too {}", "without {}", "nothing {}", "never {}", "isn't {}")
COMPARING = ("more than {}", "unlike than {}", "bigger than a {}", "than your usual {}")
LINKS = (" ", ", ", " and ", " music for a ", " with ", "; ")


@dataclass(frozen=True)
class Example:
    """A prompt and the slots it mentions."""

    prompt: str
    slots: dict[str, SlotValue]


@dataclass(frozen=True)
class PlannerScore:
    """Shares of right slots on held-out captions: where mentioned, and where left open."""

    n_captions: int
    mentioned: float
    left_open: float
    mentioned_per_slot: dict[str, float]


def caption_example(rng: random.Random) -> Example:
    """Returns a caption of drawn attributes with the slots that it mentions."""
    attributes = draw_attributes(rng)
    caption = write_caption(attributes, rng)
    values = asdict(attributes)
    return Example(caption.text, {slot: values[slot] for slot in sorted(caption.mentioned)})


def mention(entry: Entry, mark: Mark, rng: random.Random) -> tuple[str, dict[str, SlotValue]]:
    """Returns an entry as a prompt may put it, and the slot that it then mentions, if any."""
    match Mark.DENIED if entry.denied else mark:
        case Mark.WANTED:
            return entry.text, {entry.slot: entry.value}
        case Mark.DENIED:
            text = rng.choice(DENYING).format(entry.text) + ","
            value = entry.value if entry.denied else OPPOSITES.get((entry.slot, entry.value))
            return text, {} if value is None else {entry.slot: value}
        case Mark.REFERENCE:
            # What something is only compared to tells its style ("faster than a waltz"), no more.
            slots = {entry.slot: entry.value} if entry.slot == "style" else {}
            return rng.choice(COMPARING).format(entry.text) + ",", slots
        case other:
            assert_never(other)


def free_example(rng: random.Random) -> Example:
    """Returns a prompt of entries drawn without regard to each other, at most one a slot."""
    words: list[str] = []
    slots: dict[str, SlotValue] = {}
    for entry in rng.sample(entries(), rng.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        text, told = mention(entry, rng.choices(list(Mark), MARK_WEIGHTS)[0], rng)
        if entry.slot not in slots:
            words.append(text)
            slots |= told
    words += rng.sample(FILLERS, rng.choice((0, 0, 1, 2)) if words else 2)
    rng.shuffle(words)
    return Example(rng.choice(LINKS).join(words), slots)


def single_examples(rng: random.Random) -> list[Example]:
    """Returns every entry alone: wanted, denied and compared to, so that none is missed."""
    return [Example(*mention(entry, mark, rng)) for entry in entries() for mark in Mark]


def misspell(word: str, rng: random.Random) -> str:
    """Returns a word with one letter lost, doubled, swapped or replaced."""
    place = rng.randrange(len(word) - 1)
    kind = rng.randrange(4)
    head, tail = word[:place], word[place + 1 :]
    if kind == 0:
        return head + tail
    if kind == 1:
        return head + word[place] * 2 + tail
    if kind == 2:
        return head + word[place + 1] + word[place] + word[place + 2 :]
    return head + rng.choice(string.ascii_lowercase) + tail


def roughen(example: Example, rng: random.Random) -> Example:
    """Returns the example with typos in longer words, or an idle word, or as it was."""
    words = example.prompt.split()
    if rng.random() < TYPO_SHARE:
        words = [
            misspell(w, rng) if len(w) > 4 and w.isalpha() and rng.random() < 0.3 else w
            for w in words
        ]
    if rng.random() < FILLER_SHARE:
        words.insert(rng.randrange(len(words) + 1), rng.choice(FILLERS))
    return Example(" ".join(words), example.slots)


def draw_examples(n_examples: int, rng: random.Random) -> list[Example]:
    """Returns examples to train on, beside every entry alone."""
    drawn = [
        roughen(caption_example(rng) if rng.random() < CAPTION_SHARE else free_example(rng), rng)
        for _ in range(n_examples)
    ]
    return [*single_examples(rng), *drawn]


def targets(example: Example) -> list[int]:
    """Returns each slot's choice, 0 unspecified; ignored where beats per minute decide."""
    header = encode_header(example.slots)
    chosen = [identity - HEADER_VOCABULARY.first_id(slot) for slot, identity in enumerate(header)]
    if find_bpm(example.prompt) is not None:
        for name in ("tempo", "frames_per_beat"):
            chosen[HEADER_VOCABULARY.names.index(name)] = IGNORED
    return chosen


def train_planner(
    *,
    seed: int = 0,
    n_examples: int = 40000,
    n_epochs: int = 4,
    batch_size: int = 64,
) -> Planner:
    """Returns a planner trained on freshly drawn examples."""
    rng = random.Random(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        planner = Planner(PlannerConfig(phrases=known_phrases()))
    examples = draw_examples(n_examples, rng)
    features = [planner.read(example.prompt).features for example in examples]
    wanted = torch.tensor([targets(example) for example in examples])
    optimiser = torch.optim.AdamW(planner.parameters(), lr=3e-2, weight_decay=1e-4)
    n_steps = n_epochs * (len(examples) // batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, n_steps)
    order = list(range(len(examples)))
    planner.train()
    for epoch in range(n_epochs):
        rng.shuffle(order)
        total = 0.0
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            scores = planner([features[index] for index in chosen])
            loss = torch.stack(
                [
                    F.cross_entropy(
                        score, wanted[chosen, slot], ignore_index=IGNORED, reduction="sum"
                    )
                    for slot, score in enumerate(scores)
                ]
            ).sum() / len(chosen)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        logger.info("planner epoch %d: loss %.3f", epoch + 1, total * batch_size / len(order))
    return planner.eval()


def score_planner(planner: Planner, examples: Sequence[Example]) -> PlannerScore:
    """Returns how often a planner reads and leaves open the slots of held-out examples."""
    right: Counter[str] = Counter()
    told: Counter[str] = Counter()
    open_right = open_total = 0
    for example in examples:
        planned = planner.plan(example.prompt).slots
        for slot in HEADER_VOCABULARY.names:
            if slot in example.slots:
                told[slot] += 1
                right[slot] += planned.get(slot) == example.slots[slot]
            else:
                open_total += 1
                open_right += slot not in planned
    return PlannerScore(
        n_captions=len(examples),
        mentioned=right.total() / max(1, told.total()),
        left_open=open_right / max(1, open_total),
        mentioned_per_slot={slot: round(right[slot] / n, 4) for slot, n in sorted(told.items())},
    )


def held_out_examples(n_examples: int, seed: int = 10_000) -> list[Example]:
    """Returns captions drawn with a seed that training does not use."""
    rng = random.Random(seed)
    return [caption_example(rng) for _ in range(n_examples)]
