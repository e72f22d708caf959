"""`python -m rehearsal`: closes the loop with simulated raters and says what came of it.

Exit codes: 0 the loop was closed (also when the gate refused the checkpoint, which is a
result), 1 something failed, 130 interrupted.
"""

import argparse
import os
import sys
from pathlib import Path

from alignment.simulation.noise import CalibrationError
from alignment.simulation.tastes import Taste
from rehearsal.errors import RehearsalError
from rehearsal.log import Log
from rehearsal.loop import Loop
from rehearsal.options import Options, parse_config, read_tokens
from rehearsal.picture import draw
from rehearsal.report import table, write_report
from rehearsal.site import Site

FAILED, INTERRUPTED = 1, 130
TOKEN_VARIABLE = "ATTUNE_ENGINEER_TOKEN"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="./run rehearse",
        description="Close the loop with simulated raters: rate pairs by a stated taste, align, "
        "pass the gate, enter rotation, and be judged on held-out prompts.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--base-url", default="http://localhost:8000", help="address of the site")
    add("--engineer-token", default="", help=f"an engineer's API token; else {TOKEN_VARIABLE}")
    add("--rater-tokens-file", type=Path, default=None, help="simulated raters' tokens, one a line")
    add("--taste", type=Taste, choices=list(Taste), default=Taste.DARKER, help="what raters like")
    add(
        "--agreement",
        type=float,
        default=0.75,
        help="how often they choose by their taste; 0.5 flips coins, 1 never errs",
    )
    add("--pairs", type=int, default=480, help="training pairs to rate")
    add("--duration", type=float, default=5.0, help="seconds of a clip")
    add("--judgements", type=int, default=120, help="held-out pairs, aligned against base")
    add("--seed", type=int, default=0, help="of the raters' errors")
    add("--base", default=None, help="checkpoint to align; the rehearsals' anchor by default")
    add("--study", default=None, help="slug of the study to open; made from the time by default")
    add("--prompt-set", default=None, help="prompts to use; those of the site's first study")
    add(
        "--set",
        dest="config",
        action="append",
        default=[],
        metavar="KEY=NUMBER",
        help="a setting of the training, such as n_epochs=3; may be repeated",
    )
    add("--out", type=Path, default=Path("var/rehearsals"), help="folder for table, JSON, picture")
    return parser.parse_args(arguments)


def read_options(arguments: list[str]) -> Options:
    """Returns the checked options of a command line."""
    given = parse(arguments)
    if given.rater_tokens_file is None:
        raise RehearsalError("--rater-tokens-file is needed: a file with one token a line")
    return Options(
        base_url=given.base_url,
        engineer_token=given.engineer_token or os.environ.get(TOKEN_VARIABLE, ""),
        rater_tokens=read_tokens(given.rater_tokens_file),
        taste=given.taste,
        out=given.out,
        agreement=given.agreement,
        n_pairs=given.pairs,
        duration_s=given.duration,
        n_judgements=given.judgements,
        seed=given.seed,
        base=given.base,
        study=given.study,
        prompt_set=given.prompt_set,
        config=parse_config(given.config),
    )


def main(arguments: list[str]) -> int:
    """Returns the exit code of a rehearsal."""
    log = Log()
    try:
        options = read_options(arguments)
    except (RehearsalError, CalibrationError) as exc:
        sys.stderr.write(f"error: {exc}\n")
        return FAILED
    site = Site(options.base_url)
    loop = Loop(site, options, log)
    code = 0
    try:
        loop.run()
    except (RehearsalError, CalibrationError) as exc:
        log.say(f"error: {exc}")
        code = FAILED
    except KeyboardInterrupt:
        log.say("interrupted")
        code = INTERRUPTED
    finally:
        site.close()
    paths = [*write_report(loop.findings, options.out), draw(loop.findings, options.out)]
    sys.stdout.write(f"\n{table(loop.findings)}\n\n")
    sys.stdout.write("".join(f"{path}\n" for path in paths))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
