"""Makes the virtual environment and installs the locked packages. Standard library only.

Run by `./run` with the system's Python, before anything else can be imported.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = Path(os.environ.get("ATTUNE_VENV") or ROOT / ".venv")
PYTHON = VENV / "bin" / "python"
TORCH = "torch==2.13.0"
UV_NEWS = ("Resolved ", "Downloading ", "Prepared ", "Installed ")


def say(text: str) -> None:
    """Print one line at once, also when the output is a file."""
    print(text, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, and afterwards how long it took."""
    say(f"  {what} ...")
    started = time.monotonic()
    yield
    say(f"  {what}: done in {time.monotonic() - started:.1f} s")


def torch_sources() -> list[str]:
    """Options that choose where torch comes from.

    On Linux without an NVIDIA driver the default build brings several GB of CUDA packages
    along; ATTUNE_TORCH_INDEX names a package index that holds CPU builds.
    """
    index = os.environ.get("ATTUNE_TORCH_INDEX")
    if index:
        return ["--index-url", index]
    cuda_build = platform.system() == "Linux" and platform.machine() == "x86_64"
    if cuda_build and not shutil.which("nvidia-smi") and not os.environ.get("PIP_FIND_LINKS"):
        say("  note: no NVIDIA driver here, and the default torch brings several GB of CUDA along;")
        say("  to avoid that, set ATTUNE_TORCH_INDEX to PyTorch's index of CPU builds")
    return []


def installer() -> Callable[[list[str]], None]:
    """A function that installs with uv when it is there, with the environment's pip otherwise."""
    uv = shutil.which("uv")
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    if uv:
        if "PIP_FIND_LINKS" in environment:
            environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
        command = [uv, "pip", "install", "--python", str(PYTHON)]
    else:
        command = [str(PYTHON), "-m", "pip", "install", "--progress-bar", "off"]

    def install(arguments: list[str]) -> None:
        code, last_words = follow([*command, *arguments], environment)
        if code:
            sys.exit("\n".join([*last_words, f"error: installing {arguments[-1]} failed"]))

    return install


def follow(command: list[str], environment: dict[str, str]) -> tuple[int, deque[str]]:
    """Run an installer and show which package it is at: (exit code, its last lines)."""
    last_words: deque[str] = deque(maxlen=15)
    n_packages = 0
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("WARNING: Location"):
                continue  # an empty folder of wheels is no news
            last_words.append(line.rstrip())
            if line.startswith(("Collecting ", "Requirement already")):
                n_packages += 1
                if sys.stdout.isatty():
                    name = line.split(" (from")[0].strip()[:60]
                    print(f"\r    {n_packages:>3} {name:<64}", end="", flush=True)
                elif n_packages % 25 == 0:
                    say(f"    {n_packages} packages found")
            elif line.startswith("Installing collected"):
                lead = "\r" if sys.stdout.isatty() else ""
                print(f"{lead}    {n_packages} packages found, unpacking{' ' * 44}", flush=True)
            elif line.startswith(UV_NEWS):
                say(f"    {line.strip()}")
    return process.returncode, last_words


def make_environment() -> None:
    """Make the virtual environment, or say what is missing and leave nothing half-made."""
    command = [sys.executable, "-m", "venv", str(VENV)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        words = (done.stdout + done.stderr).strip().splitlines()[-6:]
        sys.exit("\n".join([*words, f"error: {' '.join(command)} failed (Debian: python3-venv)"]))


def ensure_installed(lock_name: str) -> bool:
    """Install the packages of deploy/<lock_name> unless they are; True if anything was done."""
    lock = ROOT / "deploy" / lock_name
    digest = hashlib.sha256(lock.read_bytes() + TORCH.encode()).hexdigest()
    stamp = VENV / f"installed-{lock_name}"
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == digest:
        return False
    say(f"Installing into {VENV} (once; later starts skip this)")
    if not PYTHON.exists():
        with step("virtual environment"):
            make_environment()
    install = installer()
    with step(f"{TORCH}, the largest package"):
        install([*torch_sources(), TORCH])
    with step(f"locked packages ({lock_name})"):
        install(["--no-deps", "--require-hashes", "--requirement", str(lock)])
    stamp.write_text(digest)
    return True
