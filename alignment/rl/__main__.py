"""`python -m alignment.rl FOLDER`: learns from a taste itself, without people or models.

The reward is computed from the waveform, so that what a method and its settings can do is seen
apart from how good a reward model is. What is found is written to FOLDER/trial.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

METHODS = ("grpo", "rloo")
BASE = Path("generator/starter")
PROMPTS = Path("platform/attune/catalog/data/starter_prompts.json")
GUIDED_CLIPS = 4
FIRST_GUIDED_SEED = 5_000_000


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m alignment.rl", description=__doc__)
    parser.add_argument("folder", type=Path, help="run folder to make, or to go on with")
    parser.add_argument("--taste", default="darker", help="darker, busier, slower, consonant, ...")
    parser.add_argument("--method", choices=METHODS, default="grpo")
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--duration", type=float, default=5.0, help="seconds of every clip")
    parser.add_argument("--held-out", type=int, default=16, help="held-out prompts to measure on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the method"
    )
    return parser.parse_args(arguments)


def write_run(options: argparse.Namespace) -> None:
    """Writes the run folder: every prompt with the header its words and a fixed plan make."""
    from alignment.errors import RunFolderError
    from alignment.runs import RUN_FILE, Split
    from generator.families import load_parts
    from generator.files import write_json

    stored = json.loads(options.prompts.read_text())["prompts"]
    reader = load_parts(options.base).reader
    held_out = [row for row in stored if row["is_held_out"]]
    random.Random(0).shuffle(held_out)
    if not 1 <= options.held_out <= len(held_out):
        raise RunFolderError(f"--held-out is 1 to {len(held_out)}, got {options.held_out}")
    train = [row for row in stored if not row["is_held_out"]]
    rows = [
        {
            "prompt": row["text"],
            "header": list(reader.header(reader.plan(row["text"]), seed)),
            "duration_s": options.duration,
            "split": (Split.HELD_OUT if row["is_held_out"] else Split.TRAIN).value,
        }
        for seed, row in enumerate([*train, *held_out[: options.held_out]])
    ]
    options.folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (options.folder / "prompts.jsonl").write_text(lines)
    settings = dict(text.split("=", 1) for text in options.set)
    write_json(
        options.folder / RUN_FILE,
        {
            "name": f"{options.taste}-{options.method}",
            "method": options.method,
            "base": str(options.base.resolve()),
            "preferences": "preferences.jsonl",
            "codes_root": ".",
            "prompts": "prompts.jsonl",
            "reward_model": ".",  # the taste stands in for one
            "config": {name: json.loads(value) for name, value in settings.items()},
        },
    )


def guided_gain(options: argparse.Namespace, adapter: Path, taste: Any) -> dict[str, Any]:
    """Returns how listeners' clips change: drawn as the checkpoint usually draws, with guidance."""
    import numpy as np

    from alignment.rl.held_out import compared
    from alignment.simulation.tastes import taste_score
    from generator.requests import ClipRequest
    from generator.synthesis import load_generator

    rows = [json.loads(line) for line in (options.folder / "prompts.jsonl").open()]
    prompts: Sequence[str] = [row["prompt"] for row in rows if row["split"] == "held_out"]
    requests = [
        ClipRequest(prompt, options.duration, FIRST_GUIDED_SEED + GUIDED_CLIPS * number + clip)
        for number, prompt in enumerate(prompts)
        for clip in range(GUIDED_CLIPS)
    ]
    measured = []
    for adapters in ((), (adapter,)):
        generator = load_generator(options.base, adapters)
        clips = generator.generate(requests, generator.sampling)
        scores = [taste_score(taste, clip.waveform, clip.sample_rate_hz) for clip in clips]
        measured.append(np.array(scores).reshape(len(prompts), GUIDED_CLIPS))
    return compared(*measured)


def main(arguments: list[str]) -> int:
    """Returns the exit code of a trial."""
    options = parse(arguments)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ["HF_HUB_OFFLINE"] = "1"

    import torch

    from alignment.errors import AlignmentError
    from alignment.rl.rewards import waveform_reward
    from alignment.rl.training import train_rl
    from alignment.runs import RUN_FILE, read_run
    from alignment.simulation.tastes import Taste, taste_score
    from alignment.stopping import StopSwitch
    from generator.codec.model import load_codec
    from generator.files import write_json

    torch.set_num_threads(options.threads)
    taste = Taste(options.taste)
    stop = StopSwitch()
    stop.install()
    try:
        if not (options.folder / RUN_FILE).is_file():
            write_run(options)
        codec = load_codec(options.base).eval()
        rate_hz = codec.config.sample_rate_hz

        @torch.inference_mode()
        def decode(codes: Any) -> Any:
            return codec.decode(torch.from_numpy(codes).long()).numpy()

        reward = waveform_reward(decode, lambda waveform: taste_score(taste, waveform, rate_hz))
        run = read_run(options.folder.resolve())
        summary = train_rl(run, stop=stop, reward=reward)
        found = {"training": summary, "guided": guided_gain(options, run.result, taste)}
    except AlignmentError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return os.EX_DATAERR
    write_json(options.folder / "trial.json", found)
    print(json.dumps(found, indent=1))
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
