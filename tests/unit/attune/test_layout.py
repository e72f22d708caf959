"""The source root does not shadow the standard library, and pages never load torch."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[3]
WEB_MODULES = ("config.wsgi", "config.urls", "api.urls", "console.urls", "rating_ui.urls")
HEAVY = ("torch", "transformers", "trl", "peft", "generator", "alignment", "workers")


def run_python(code: str, *, cwd: Path = ROOT) -> str:
    paths = [str(ROOT), str(ROOT / "platform")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_source_root_is_not_a_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_platform_is_the_standard_librarys() -> None:
    assert platform.python_version() == ".".join(map(str, sys.version_info[:3]))
    found = run_python("import platform; print(platform.__file__)")
    assert not Path(found).is_relative_to(ROOT / "platform")


def test_no_test_package_is_named_after_the_source_root() -> None:
    assert not (ROOT / "tests" / "platform").exists()
    assert not (ROOT / "tests" / "unit" / "platform").exists()


def test_the_web_process_loads_no_torch() -> None:
    code = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'; "
        "import django; django.setup(); import importlib; "
        f"[importlib.import_module(name) for name in {WEB_MODULES!r}]; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert run_python(code) == "[]"


@pytest.mark.django_db
def test_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_migrations_of_an_app_stand_in_one_numbered_line() -> None:
    for app in sorted((ROOT / "platform" / "attune").glob("*/migrations")):
        names = sorted(file.name for file in app.glob("[0-9]*.py"))
        assert names[0] == "0001_initial.py", app
        assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1)), app
