"""Raters at a full site: how long the next pair, an answer and a clip take, and what is lost.

python -m tests.benchmarks.rating_load [--ratings 1000000] [--raters 200] [--minutes 3]

A PostgreSQL server of its own, filled with ratings; the site's own web process; simulated raters
who fetch a pair, load both clips by ranges, listen, and answer. A few readers take clips very
slowly all the while.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import resource
import socket
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.benchmarks.runs import children_cpu_s

ROOT = Path(__file__).resolve().parents[2]
STUDY = "benchmark"
CLIP_S = 10.0
RATE_HZ = 32_000
SLOW_BYTES_S = 2_000


@dataclass
class Seen:
    """What the raters met."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    stored: set[int] = field(default_factory=set)
    n_answers: int = 0
    n_empty: int = 0
    heard: Counter[str] = field(default_factory=Counter)

    def note(self, what: str, seconds: float) -> None:
        """Keeps how long one request took."""
        self.seconds.setdefault(what, []).append(seconds)


async def _timed(
    client: httpx.AsyncClient, seen: Seen, what: str, method: str, path: str, **more: Any
) -> httpx.Response | None:
    began_at = time.perf_counter()
    try:
        response = await client.request(method, path, **more)
    except httpx.HTTPError as exc:
        seen.problems[f"{what}: {type(exc).__name__}"] += 1
        return None
    seen.note(what, time.perf_counter() - began_at)
    if response.status_code >= 400:
        seen.problems[f"{what}: {response.status_code} {response.text[:80]}"] += 1
        return None
    return response


async def rate(
    client: httpx.AsyncClient,
    token: str,
    seen: Seen,
    *,
    ends_at: float,
    pause_s: tuple[float, float],
    rng: random.Random,
) -> None:
    """Rates pairs until the end."""
    headers = {"Authorization": f"Bearer {token}"}
    await asyncio.sleep(rng.uniform(0, pause_s[1]))
    while time.monotonic() < ends_at:
        answer = await _timed(
            client, seen, "assignment", "POST", "/api/v1/assignments",
            json={"study": STUDY}, headers=headers,
        )  # fmt: skip
        if answer is None or answer.status_code == httpx.codes.NO_CONTENT:
            seen.n_empty += answer is not None
            await asyncio.sleep(1.0)
            continue
        pair = answer.json()
        for side in "ab":
            await _timed(
                client, seen, "audio", "GET", pair[side]["audio_url"],
                headers={**headers, "Range": "bytes=0-"},
            )  # fmt: skip
        await asyncio.sleep(rng.uniform(*pause_s))
        body = {
            "client_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "assignment": pair["id"],
            "choice": rng.choice(["A", "B", "TIE"]),
            "heard": {},
        }
        path = "/api/v1/ratings"
        stored = await _timed(client, seen, "answer", "POST", path, json=body, headers=headers)
        if stored is not None:
            seen.n_answers += 1
            seen.stored.add(stored.json()["id"])


async def read_slowly(port: int, path: str, token: str, ends_at: float) -> None:
    """Takes a clip at SLOW_BYTES_S, as a telephone in a tunnel would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=SLOW_BYTES_S)
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()
    while time.monotonic() < ends_at and await reader.read(SLOW_BYTES_S):
        await asyncio.sleep(1.0)
    writer.close()


async def run_raters(
    port: int, tokens: list[str], *, minutes: float, pause_s: tuple[float, float], n_slow: int
) -> Seen:
    """Returns what raters met in so many minutes."""
    seen = Seen()
    ends_at = time.monotonic() + 60 * minutes
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=30.0) as client:
        tasks = []
        for token in tokens[:n_slow]:
            headers = {"Authorization": f"Bearer {token}"}
            path = "/api/v1/assignments"
            pair = await client.post(path, json={"study": STUDY}, headers=headers)
            tasks.append(read_slowly(port, pair.json()["a"]["audio_url"], token, ends_at))
        tasks += [
            rate(client, token, seen, ends_at=ends_at, pause_s=pause_s, rng=random.Random(number))
            for number, token in enumerate(tokens[n_slow:])
        ]
        await asyncio.gather(*tasks)
    return seen


def report(seen: Seen, *, n_raters: int, minutes: float) -> str:
    """Returns the table of latencies."""
    lines = [
        "| request | n | p50, ms | p95, ms | p99, ms | most, ms |",
        "|---|---|---|---|---|---|",
    ]
    for what, seconds in seen.seconds.items():
        p50, p95, p99 = 1e3 * np.percentile(seconds, [50, 95, 99])
        lines.append(
            f"| {what} | {len(seconds)} | {p50:.1f} | {p95:.1f} | {p99:.1f} "
            f"| {1e3 * max(seconds):.0f} |"
        )
    n_requests = sum(map(len, seen.seconds.values()))
    lines.append(
        f"\n{n_raters} raters, {minutes:g} minutes, "
        f"{n_requests / minutes / 60:.0f} requests a second, "
        f"{seen.n_answers} answers, {seen.n_empty} times no pair, "
        f"{sum(seen.problems.values())} errors {dict(seen.problems) or ''}"
    )
    return "\n".join(lines)


def write_clip(path: Path) -> None:
    """Writes ten seconds of noise."""
    import soundfile

    path.parent.mkdir(parents=True)
    noise = 0.1 * np.random.default_rng(0).standard_normal(int(CLIP_S * RATE_HZ))
    soundfile.write(path, noise.astype(np.float32), RATE_HZ, subtype="PCM_16")


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def measure(options: argparse.Namespace, home: Path, url: str) -> bool:
    """Prints the figures; false where something was lost or done twice."""
    os.environ |= {
        "ATTUNE_HOME": str(home),
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    import django

    django.setup()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from django.core.management import call_command
    from django.db.models import Count, Q

    import supervisor
    from attune.raters.services import create_api_token, create_rater
    from attune.ratings.choices import AssignmentState
    from attune.ratings.models import Assignment, Pair, Rating
    from tests.benchmarks.filled_site import AUDIO_PATH, OVERLAP, Sizes, fill

    began_at = time.monotonic()
    call_command("migrate", verbosity=0)
    audio = home / "media" / AUDIO_PATH
    write_clip(audio)
    sizes = Sizes(n_ratings=options.ratings, n_ready=options.ready)
    study = fill(sizes, study_slug=STUDY, audio=audio, duration_s=CLIP_S)
    tokens = [create_api_token(user=create_rater().user) for _ in range(options.raters)]
    n_before = Rating.objects.count()
    print(f"filled with {n_before} ratings in {time.monotonic() - began_at:.0f} s", flush=True)

    site = supervisor.Site(port=free_port(), home=home)
    (home / "static").mkdir(exist_ok=True)
    web = supervisor.children_of(site, supervisor.stack_environment(site))[0]
    web.start()
    try:
        while not supervisor.answers(site):
            time.sleep(0.2)
        cpu_before_s = time.process_time()
        seen = asyncio.run(
            run_raters(
                site.port,
                tokens,
                minutes=options.minutes,
                pause_s=tuple(options.pause),
                n_slow=options.slow,
            )
        )
        print(report(seen, n_raters=options.raters, minutes=options.minutes))
        share = (time.process_time() - cpu_before_s) / (60 * options.minutes)
        print(f"the raters themselves took {share:.0%} of a core; {options.slow} slow readers")
    finally:
        supervisor.stop([web])
    n_requests = sum(map(len, seen.seconds.values()))
    print(f"the web process took {1e3 * children_cpu_s() / n_requests:.1f} ms of CPU a request")
    answered = Q(assignments__state__in=[AssignmentState.OPEN, AssignmentState.ANSWERED])
    places = Count("assignments", filter=answered & Q(assignments__is_repeat=False))
    over = Pair.objects.filter(study=study).annotate(n=places).filter(n__gt=OVERLAP).count()
    twice = (
        Assignment.objects.filter(is_repeat=False, pair__study=study)
        .values("rater", "pair").annotate(n=Count("pk")).filter(n__gt=1).count()
    )  # fmt: skip
    n_new = Rating.objects.count() - n_before
    figures = {
        "answers acknowledged": seen.n_answers,
        "ratings stored": n_new,
        "acknowledged twice": seen.n_answers - len(seen.stored),
        "pairs over their overlap": over,
        "pairs given twice to one rater": twice,
    }
    print(json.dumps(figures))
    return n_new == seen.n_answers == len(seen.stored) and not over and not twice


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 where something was lost or done twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--ready", type=int, default=4_000, help="pairs that wait to be rated")
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--pause", type=float, nargs=2, default=(8.0, 16.0), help="s of listening")
    parser.add_argument("--slow", type=int, default=16, help="of the raters read a clip slowly")
    options = parser.parse_args(arguments)
    sys.path[:0] = [str(ROOT / "deploy"), str(ROOT / "platform")]
    # Hundreds of connections on both sides of this machine.
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    import local_postgres

    binaries = local_postgres.find_binaries()
    if binaries is None:
        parser.error("no PostgreSQL server binaries (initdb) were found")
    with tempfile.TemporaryDirectory() as home, local_postgres.temporary_server(binaries) as url:
        return 0 if measure(options, Path(home), url) else 1


if __name__ == "__main__":
    sys.exit(main())
