"""What `./run` does once the environment is there: up, test, rehearse."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import local_postgres
import supervisor
from supervisor import ROOT, Site, StartError

PYTHON = sys.executable
ROLES = {
    "rater": "rates pairs",
    "engineer": "starts rounds, looks after the rotation",
    "reviewer": "reads the statistics",
}
NO_TESTS_COLLECTED = 5
# Too few for a round to hold raters out: all of one taste, they would only cost training pairs.
SIMULATED_RATERS = 7
WITHOUT_DATABASE = ("tests/unit/generator", "tests/unit/alignment", "tests/unit/rehearsal")


def say(text: str = "") -> None:
    """Print one line at once, also when the output is a file."""
    print(text, flush=True)


def manage(site: Site, *words: str, given: str = "") -> str:
    """The output of one management command; StartError with its last words when it fails."""
    done = subprocess.run(
        [PYTHON, str(ROOT / "manage.py"), *words],
        env=supervisor.stack_environment(site),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise StartError(f"manage.py {' '.join(words)} failed: {' / '.join(lines[-3:])}")
    return done.stdout


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long a step took."""
    started = time.monotonic()
    yield
    say(f"  {what}: {time.monotonic() - started:.1f} s")


def prepare(site: Site) -> None:
    """Bring the database up to date, load the demo study, free what a dead stack held."""
    site.home.mkdir(parents=True, exist_ok=True)
    with timed("database, starter checkpoint, study and prompts"):
        manage(site, "migrate", "--verbosity", "0")
        manage(site, "setup_demo")


def print_links(site: Site) -> None:
    """Print one fresh sign-in link per kind of person; embedded mode only."""
    if os.environ.get("ATTUNE_EMBEDDED", "1").lower() in {"0", "false", "no", "off"}:
        say("  public deployment: invite people with ./run manage invite ROLE")
        return
    links = manage(site, "invite", *ROLES, "--base-url", site.address).split()
    say("  sign in (each link works once; ./run manage invite ROLE makes more):")
    for (role, does), link in zip(ROLES.items(), links, strict=True):
        say(f"    {role:<9} {link}   {does}")


def up() -> int:
    """Serve until Ctrl-C."""
    site = supervisor.site_from_environment()
    started = time.monotonic()
    running = supervisor.running_site(site.home)
    if running:
        say(f"Attune already runs on {site.home}: {running.address}")
        print_links(running)
        return 0
    supervisor.require_free_port(site.port)
    say(f"Attune, state in {site.home}")
    prepare(site)
    with supervisor.serving(site) as children:
        say(f"  ready after {time.monotonic() - started:.1f} s: {site.address}")
        print_links(site)
        say("  clips are being made; logs are in " + str(site.home / "log"))
        say("  Ctrl-C stops everything")
        supervisor.watch_until_stopped(children, say)
        say("stopping ...")
    say("stopped; nothing is left running")
    return 0


def rehearse(words: list[str]) -> int:
    """Close the loop with simulated raters, on the running stack or on one of its own."""
    if "--help" in words or "-h" in words:
        return run_rehearsal(["--help"])
    home = supervisor.site_from_environment().home
    running = supervisor.running_site(home)
    if running:
        say(f"using the site that runs at {running.address}")
        return rehearse_on(running, words)
    site = supervisor.site_from_environment()
    supervisor.require_free_port(site.port)
    prepare(site)
    with supervisor.serving(site) as children:
        say(f"  site started for the rehearsal: {site.address}")
        with supervisor.watching(children, say):
            return rehearse_on(site, words)


def rehearse_on(site: Site, words: list[str]) -> int:
    """Make tokens for an engineer and simulated raters, then run the rehearsal client."""
    engineer = manage(site, "token", "engineer").strip()
    raters = manage(site, "token", "rater", "--simulated", "--count", str(SIMULATED_RATERS))
    folder = site.home / "rehearsals"
    folder.mkdir(parents=True, exist_ok=True)
    tokens = folder / f"raters-{os.getpid()}.tokens"
    tokens.touch(mode=0o600)
    try:
        tokens.write_text(raters)
        options = ["--base-url", site.address, "--rater-tokens-file", str(tokens)]
        if not any(word.split("=")[0] == "--out" for word in words):
            options += ["--out", str(folder / time.strftime("%Y%m%d-%H%M%S"))]
        return run_rehearsal([*options, *words], token=engineer)
    finally:
        tokens.unlink()
        manage(site, "revoke", given=f"{engineer}\n{raters}")


def run_rehearsal(words: list[str], token: str = "") -> int:
    """The exit code of `python -m rehearsal`; the engineer's token travels in its environment."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = str(ROOT / "platform")
    environment["ATTUNE_ENGINEER_TOKEN"] = token
    process = subprocess.Popen([PYTHON, "-m", "rehearsal", *words], env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        return process.wait()


def test(words: list[str]) -> int:
    """The whole suite on SQLite, then what touches the database again on PostgreSQL."""
    environment = dict(os.environ)
    environment.setdefault("OMP_NUM_THREADS", "1")
    environment.pop("BROKER_URL", None)
    url = environment.pop("DATABASE_URL", "")
    pytest = [PYTHON, "-m", "pytest", *words]
    ignored = [f"--ignore={folder}" for folder in WITHOUT_DATABASE]
    with contextlib.ExitStack() as stack:
        environment["ATTUNE_HOME"] = stack.enter_context(tempfile.TemporaryDirectory())
        say("== SQLite")
        code = subprocess.run(pytest, cwd=ROOT, env=environment, check=False).returncode
        if code:
            return code
        if not url:
            binaries = local_postgres.find_binaries()
            if binaries is None:
                say("== PostgreSQL: skipped, no server binaries (initdb) and no DATABASE_URL")
                return 0
            url = stack.enter_context(local_postgres.temporary_server(binaries))
        say("== PostgreSQL")
        environment["DATABASE_URL"] = url
        code = subprocess.run(
            [*pytest, *ignored], cwd=ROOT, env=environment, check=False
        ).returncode
        # What was asked for may lie wholly in the folders that touch no database.
        return 0 if code == NO_TESTS_COLLECTED and words else code


def main() -> int:
    """Dispatch one command; a StartError is printed as one sentence."""
    command, *words = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        match command:
            case "up":
                return up()
            case "rehearse":
                return rehearse(words)
            case "test":
                return test(words)
            case _:
                raise StartError(f"unknown command {command!r}")
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
