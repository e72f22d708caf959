"""Settings of the site, all from the environment.

Embedded mode is the default: one folder for all state, SQLite, a folder broker, a secret
key made on the first start. A public deployment sets ATTUNE_EMBEDDED=0 and must then bring
ATTUNE_SECRET_KEY and ATTUNE_HOSTS.
"""

import secrets
from pathlib import Path

import structlog
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config.env import Environment, broker_settings, database_settings

BASE_DIR = Path(__file__).resolve().parents[2]
env = Environment()

ATTUNE_EMBEDDED = env.boolean("ATTUNE_EMBEDDED", True)
ATTUNE_HOME = env.path("ATTUNE_HOME", BASE_DIR / "var")
ATTUNE_MEDIA = ATTUNE_HOME / "media"
ATTUNE_CHECKPOINTS = ATTUNE_HOME / "checkpoints"
ATTUNE_ROUNDS = ATTUNE_HOME / "rounds"
ATTUNE_BROKER_FOLDER = ATTUNE_HOME / "broker"
ATTUNE_STARTER = env.path("ATTUNE_STARTER", BASE_DIR / "generator" / "starter")
ATTUNE_ENCODER = env.path("ATTUNE_ENCODER", BASE_DIR / "generator" / "encoder")
ATTUNE_DEVICE = env.choice("ATTUNE_DEVICE", "auto", allowed=("auto", "cpu", "cuda"))
ATTUNE_JOB_LEASE_S = env.integer("ATTUNE_JOB_LEASE_S", 30, minimum=2, maximum=3600)
ATTUNE_MAX_BATCH_CLIPS = env.integer("ATTUNE_MAX_BATCH_CLIPS", 16, minimum=1, maximum=256)
ATTUNE_MINIMUM_PREFERENCES = env.integer(
    "ATTUNE_MINIMUM_PREFERENCES", 32, minimum=2, maximum=1_000_000
)
ATTUNE_PLAYBACK_LUFS = env.number("ATTUNE_PLAYBACK_LUFS", -23.0, minimum=-40.0, maximum=-10.0)
ATTUNE_ACCEL_PREFIX = env.text("ATTUNE_ACCEL_PREFIX")
ATTUNE_LOG_LEVEL = env.choice(
    "ATTUNE_LOG_LEVEL", "INFO", allowed=("DEBUG", "INFO", "WARNING", "ERROR")
)


def embedded_secret_key() -> str:
    """The key kept in ATTUNE_HOME, made on the first start and readable by its owner only."""
    file = ATTUNE_HOME / "secret_key"
    if not file.exists():
        ATTUNE_HOME.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            file.hardlink_to(draft)
        except FileExistsError:
            pass  # another process made it first; its key is the one
        finally:
            draft.unlink()
    return file.read_text().strip()


SECRET_KEY = env.text("ATTUNE_SECRET_KEY")
if not SECRET_KEY:
    if not ATTUNE_EMBEDDED:
        raise ImproperlyConfigured("ATTUNE_SECRET_KEY is empty: ATTUNE_EMBEDDED=0 needs one")
    SECRET_KEY = embedded_secret_key()

DEBUG = env.boolean("ATTUNE_DEBUG", False)
ALLOWED_HOSTS = env.words(
    "ATTUNE_HOSTS", ("localhost", "127.0.0.1", "[::1]", "testserver") if ATTUNE_EMBEDDED else ()
)
if not ATTUNE_EMBEDDED and not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ATTUNE_HOSTS is empty: ATTUNE_EMBEDDED=0 needs the site's names")
CSRF_TRUSTED_ORIGINS = env.words("ATTUNE_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_htmx",
    "ninja",
    "attune.jobs",
    "attune.catalog",
    "attune.raters",
    "attune.ratings",
    "attune.rounds",
    "attune.leaderboard",
    "rating_ui",
    "console",
    "api",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.compression.StaticGZipMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.sessions.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "config.language.console_in_english",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]

DATABASES = {
    "default": database_settings(
        env.text("DATABASE_URL"), sqlite_file=ATTUNE_HOME / "attune.sqlite3"
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CELERY_BROKER_URL, CELERY_BROKER_TRANSPORT_OPTIONS = broker_settings(
    env.text("BROKER_URL"), folder=ATTUNE_BROKER_FOLDER
)

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "rating_ui.doors.locked_out"
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "attune_session"
CSRF_COOKIE_NAME = "attune_csrf"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if not ATTUNE_EMBEDDED:
    SESSION_COOKIE_SECURE = True
    LANGUAGE_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = env.boolean("ATTUNE_SSL_REDIRECT", True)
    SECURE_HSTS_SECONDS = env.integer("ATTUNE_HSTS_S", 3600, minimum=0, maximum=63_072_000)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "media-src": [SELF, "blob:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    },
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "rating_ui" / "locale"]
LANGUAGE_COOKIE_NAME = "attune_language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "config.uploads.BoundedFileUploadHandler",
]

STATIC_URL = "/static/"
STATIC_ROOT = ATTUNE_HOME / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 0 if DEBUG else 300

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "console": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": structlog.dev.ConsoleRenderer(colors=False),
            "foreign_pre_chain": [
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
            ],
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "console"}},
    "root": {"handlers": ["console"], "level": ATTUNE_LOG_LEVEL},
    "loggers": {
        "axes": {"level": "WARNING"},
        "django.server": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
    },
}
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
