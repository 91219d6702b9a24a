"""Settings of BehaviourLens. Everything a deployment may change comes from the environment."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.utils.log import CallbackFilter
from environs import Env

from behaviourlens import environment
from behaviourlens.noise import is_news

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

# --- from the environment -------------------------------------------------------------
PORT = environment.port(env)
DEBUG = environment.read(env.bool, "DEBUG", True)
SECRET_KEY = environment.secret_key(DEBUG, VAR_DIR / "secret_key")
ALLOWED_HOSTS = environment.hosts(env, DEBUG)
# normal: what was answered 202 survives a killed process; full: a power cut as well.
BL_JOURNAL_SYNC = environment.read(
    env.str, "BL_JOURNAL_SYNC", "normal", validate=environment.validate.OneOf(["normal", "full"])
)
DATABASES: dict[str, Any] = {
    "default": environment.database(VAR_DIR / "behaviourlens.sqlite3", BL_JOURNAL_SYNC)
}

# Origins whose scripts may call the query API; `*` is for local work.
BL_API_ORIGINS = environment.origins(env, "BL_API_ORIGINS")
# Events that may wait for the engine before POST /events answers 503.
BL_QUEUE_EVENTS = environment.positive(env, "BL_QUEUE_EVENTS", 50_000)
# Streams open at a time; each keeps a thread.
BL_MAX_STREAMS = environment.positive(env, "BL_MAX_STREAMS", 1_000)
# What visitors' windows may hold, MB, and how many visitors are held at a time.
BL_MAX_MEMORY_MB = environment.positive(env, "BL_MAX_MEMORY_MB", 1_024)
BL_MAX_VISITORS = environment.positive(env, "BL_MAX_VISITORS", 200_000)
# Whether accepted events are kept in the database; off: in memory only.
BL_JOURNAL = environment.read(env.bool, "BL_JOURNAL", True)
# The journal is kept for so many days, and no larger than so many MB.
BL_JOURNAL_RETENTION = environment.positive(env, "BL_JOURNAL_RETENTION", 30)
BL_JOURNAL_MAX_MB = environment.positive(env, "BL_JOURNAL_MAX_MB", 4_096)
# Patterns and their changes are kept for so many days after their last change.
BL_RETENTION = environment.positive(env, "BL_RETENTION", 400)
# Seconds after a page is left from within the funnel until that counts as abandonment.
BL_LEAVE_GRACE = environment.positive(env, "BL_LEAVE_GRACE", 30, most=1799)
# Events a second that one address, and one site's key, may send; `off` for a load test.
BL_RATE_LIMIT = environment.rates(env, "BL_RATE_LIMIT", "1000/20000")
# For a trusted local network without TLS: no redirect to it, no Secure on cookies.
BL_INSECURE_HTTP = environment.read(env.bool, "BL_INSECURE_HTTP", False)
# text for people, json for whoever collects logs.
BL_LOG_FORMAT = environment.read(
    env.str, "BL_LOG_FORMAT", "text", validate=environment.validate.OneOf(["text", "json"])
)
LOG_LEVEL = environment.read(
    env.str,
    "BL_LOG_LEVEL",
    "INFO",
    validate=environment.validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]),
)

# --- Django ---------------------------------------------------------------------------
INSTALLED_APPS = [
    "daphne",  # first, so that its runserver (ASGI) is the one that runs
    "servestatic",  # ahead of staticfiles, so that it serves under runserver as well
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "corsheaders",
    "csp",
    "django_guid",
    "django_htmx",
    "ninja",
    "detection",
    "dashboard",
    "demo_store",
]

MIDDLEWARE = [
    "detection.headers.RequestId",
    "django_guid.middleware.guid_middleware",
    # Around all that may answer by themselves: whoever answers, the headers are there, and what
    # is the API's is JSON.
    "detection.headers.Headers",
    "detection.errors.JsonErrors",
    "django.middleware.security.SecurityMiddleware",
    "detection.errors.StaticFiles",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "detection.one_thread.OneThread",  # the innermost
]

ROOT_URLCONF = "behaviourlens.urls"
ASGI_APPLICATION = "behaviourlens.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: it turns away who has tried too often
    "django.contrib.auth.backends.ModelBackend",
]
# Counted in memory: no address of anyone is stored. Ten wrong passwords for one name from one
# address, and that pair waits a quarter of an hour.
AXES_CACHE = "logins"
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "logins": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "logins",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
}
SILENCED_SYSTEM_CHECKS = [
    "axes.W001",  # warns of a cache that processes do not share; here one process answers
    "security.W005",  # whether HSTS is right for every subdomain is for the domain's owner to say,
    "security.W021",  # and so is whether browsers should come with it built in
]
AXES_HANDLER = "axes.handlers.cache.AxesCacheHandler"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["ip_address", "username"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
# Paths are names here (/events, /api/stats): no redirect to a slashed twin.
APPEND_SLASH = False

# --- static files ---------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
# Found where the apps keep them, under any server, without a collectstatic step.
SERVESTATIC_USE_FINDERS = True
# While developing, an edit is seen at once.
SERVESTATIC_AUTOREFRESH = DEBUG
SERVESTATIC_MAX_AGE = 0 if DEBUG else 3600
# For our own pages alone.
SERVESTATIC_ALLOW_ALL_ORIGINS = False

# --- security headers -----------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}
# The query API for scripts of other origins; POST /events and /lens.js are open to all.
CORS_URLS_REGEX = r"^/(api/|events$|health$)"
CORS_ALLOW_ALL_ORIGINS = "*" in BL_API_ORIGINS
CORS_ALLOWED_ORIGINS = [origin for origin in BL_API_ORIGINS if origin != "*"]
CORS_ALLOW_METHODS = ["GET", "HEAD", "OPTIONS", "PATCH"]
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
PERMISSIONS_POLICY: dict[str, list[str]] = {
    feature: []
    for feature in (
        "accelerometer",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "usb",
    )
}
# Outside this machine everything goes through TLS. What a proxy tells of the visitor's side reaches
# Django by daphne --proxy-headers.
SECURE = not DEBUG and not BL_INSECURE_HTTP
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_SSL_REDIRECT = SECURE
# Asked from beside the server, by those who watch it.
SECURE_REDIRECT_EXEMPT = ["^health$", "^ready$", "^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "bl_session"
CSRF_COOKIE_NAME = "bl_csrf"

# --- streams --------------------------------------------------------------------------
EVENTSTREAM_STORAGE_CLASS = "detection.streams.ChangeStorage"
EVENTSTREAM_CHANNELMANAGER_CLASS = "detection.streams.ChannelManager"

# --- a request's id, in its answer and in every line that is logged for it --------------
# A proxy's id is taken where it is a UUID, and replaced where it is anything else.
DJANGO_GUID = {
    "GUID_HEADER_NAME": "X-Request-ID",
    "VALIDATE_GUID": True,
    "RETURN_HEADER": True,
    "EXPOSE_HEADER": False,
}

# --- logs -----------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "{asctime}{levelname}{name}{message}{correlation_id}",
            "style": "{",
            "rename_fields": {
                "asctime": "time",
                "levelname": "level",
                "name": "logger",
                "correlation_id": "request_id",
            },
        },
    },
    "filters": {
        "news": {"()": CallbackFilter, "callback": is_news},
        "request_id": {"()": "django_guid.log_filters.CorrelationId"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": BL_LOG_FORMAT,
            "filters": ["request_id"],
        }
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["console"], "level": "INFO", "propagate": False},
        # A 404 or a 400 is the caller's news, not the operator's.
        "django.request": {"level": "ERROR", "filters": ["news"]},
        "django_guid": {"level": "WARNING"},
        "asyncio": {"filters": ["news"]},
        # Scanners ask for hosts that are not ours all day; each is answered 400.
        "django.security.DisallowedHost": {"handlers": [], "level": "CRITICAL", "propagate": False},
        "detection": {"level": LOG_LEVEL},
        "dashboard": {"level": LOG_LEVEL},
        "demo_store": {"level": LOG_LEVEL},
    },
}
