"""Every setting, top to bottom, from the environment; `.env.example` names each variable."""

import logging
import os
import sys
from datetime import timedelta
from pathlib import Path

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy
from environs import Env, validate
from whitenoise.compress import Compressor

from labelhub.logging import configuration
from labelhub.sqlite import let_threads_run

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
env.read_env(str(BASE_DIR / ".env"), recurse=False)


def secret(name, default=""):
    """The secret in the variable NAME, or in the file that NAME_FILE points to."""
    path = env.path(f"{name}_FILE", None)
    return path.read_text().strip() if path else env.str(name, default)


def kept_secret(name):
    """A secret of this installation: from the environment, else made once and kept under DATA_DIR."""
    given = secret(name)
    if given:
        return given
    from django.core.management.utils import get_random_secret_key

    path = DATA_DIR / name.lower()
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(get_random_secret_key())
    except FileExistsError:
        pass
    return path.read_text()


# Where things are kept ------------------------------------------------------------------------------------------------

DATA_DIR = env.path("DATA_DIR", BASE_DIR / "var")
try:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(f"DATA_DIR {DATA_DIR} cannot be made: {error}") from error

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = kept_secret("SECRET_KEY")
SECRETS_KEY = secret("SECRETS_KEY") or SECRET_KEY  # encrypts access keys and provider keys at rest
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])

# Apps -----------------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.inlines",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_structlog",
    "axes",
    "csp",
    "rules",
    "labelhub.jobs",
    "labelhub.accounts",
    "samples",
    "exports",
]

MIDDLEWARE = [
    "labelhub.api.wire.Timed",
    "labelhub.api.wire.ReadToTheEnd",
    "django.middleware.security.SecurityMiddleware",
    "labelhub.api.wire.KnownLength",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "labelhub.urls"
WSGI_APPLICATION = "labelhub.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Database -------------------------------------------------------------------------------------------------------------

DATABASES = {"default": env.dj_db_url("DATABASE_URL", f"sqlite:///{DATA_DIR / 'labelhub.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    let_threads_run()
    # DEFERRED lets two readers both want to write: 349 of 600 transactions died "database is locked"; IMMEDIATE: none.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
    }
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    # Four connections, the pool's own size, would make half of a web process's eight threads wait.
    pool = {"min_size": 1, "max_size": env.int("DATABASE_POOL_SIZE", 20), "timeout": 10}
    options = DATABASES["default"].setdefault("OPTIONS", {})
    options["pool"] = pool if options.get("pool", True) is True else options["pool"]
    DATABASES["default"]["CONN_MAX_AGE"] = 0  # the pool keeps the connections
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Who may enter --------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "rules.permissions.ObjectPermissionBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURE_LIMIT", 10)
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_HTTP_RESPONSE_CODE = 429

# Browser safety -------------------------------------------------------------------------------------------------------

HTTPS = env.bool("HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", False) else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "frame-ancestors": [NONE],
        "img-src": [SELF, "data:"],
        # Unfold's pages are written with Alpine, which evaluates expressions: without these two the admin is dead.
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
    }
}

# Language and time ----------------------------------------------------------------------------------------------------

LANGUAGE_CODE = env.str("LANGUAGE_CODE", "en")
LANGUAGES = [("en", "English"), ("fr", "Français"), ("zh-hans", "简体中文")]
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

# Files: a destination is the name of a storage ------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
# Swagger's source maps are for who debugs Swagger: 7 MB that would take a server's start half a minute to compress.
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = (*Compressor.SKIP_COMPRESS_EXTENSIONS, "map")
MEDIA_ROOT = DATA_DIR / "media"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(MEDIA_ROOT)}},
    "local": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(env.path("EXPORT_DIR", DATA_DIR / "exports"))},
    },
    "staticfiles": {"BACKEND": "labelhub.static_files.StaticFiles"},
}
S3_BUCKET = env.str("S3_BUCKET", "")
if S3_BUCKET:
    STORAGES["s3"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": S3_BUCKET,
            "access_key": secret("S3_ACCESS_KEY"),
            "secret_key": secret("S3_SECRET_KEY"),
            "endpoint_url": env.str("S3_ENDPOINT_URL", None),
            "region_name": env.str("S3_REGION", None),
            "addressing_style": env.str("S3_ADDRESSING_STYLE", "path"),
            "querystring_expire": env.int("S3_URL_SECONDS", 3600),
            "default_acl": None,
            "file_overwrite": True,
        },
    }
EXPORT_DESTINATIONS = [name for name in STORAGES if name not in ("default", "staticfiles")]
EXPORT_DESTINATION = env.str("EXPORT_DESTINATION", EXPORT_DESTINATIONS[-1])
if EXPORT_DESTINATION not in EXPORT_DESTINATIONS:
    raise ImproperlyConfigured(
        f"EXPORT_DESTINATION is {EXPORT_DESTINATION!r}; it must be one of {', '.join(EXPORT_DESTINATIONS)}"
    )
# A file in a store is fetched there, by a signed link; 0 where browsers cannot reach the store: then the hub serves it.
EXPORT_LINK_SECONDS = env.int("EXPORT_LINK_SECONDS", 300, validate=validate.Range(min=0, max=7 * 24 * 3600))
# The same for files that the hub serves itself, to programs that carry no key.
LINK_SECONDS = env.int("LINK_SECONDS", 3600, validate=validate.Range(min=1, max=604800))
# So many days after it was written a batch's files are removed (the batch stays, and can be written again); 0: never.
EXPORT_RETENTION_DAYS = env.float("EXPORT_RETENTION_DAYS", 0, validate=validate.Range(min=0, max=36_500))
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("DATA_UPLOAD_MAX_BYTES", 10 * 1024 * 1024)
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000

# Annotating -----------------------------------------------------------------------------------------------------------

TASK_LEASE_MINUTES = env.float("TASK_LEASE_MINUTES", 10, validate=validate.Range(min=0.1))

# Background jobs ------------------------------------------------------------------------------------------------------

JOB_LEASE_SECONDS = env.float("JOB_LEASE_SECONDS", 30, validate=validate.Range(min=1))
JOB_POLL_SECONDS = env.float("JOB_POLL_SECONDS", 0.25, validate=validate.Range(min=0.01))
JOB_MAX_ATTEMPTS = env.int("JOB_MAX_ATTEMPTS", 3, validate=validate.Range(min=1, max=1000))
JOBS_BACKEND = env.str("JOBS_BACKEND", "database", validate=validate.OneOf(["database", "celery"]))
CELERY_BROKER_URL = secret("CELERY_BROKER_URL")
CELERY_QUEUE = env.str("CELERY_QUEUE", "labelhub")  # one for each installation that shares the broker
if JOBS_BACKEND == "celery" and not CELERY_BROKER_URL:
    raise ImproperlyConfigured("JOBS_BACKEND is celery: CELERY_BROKER_URL must say where, as redis://127.0.0.1:6379/0")

# Where models are trained besides here ---------------------------------------------------------------------------------

FINETUNE_PROVIDERS = {
    "openai": {
        "base_url": env.str("OPENAI_BASE_URL", ""),
        "key": secret("OPENAI_API_KEY"),
        "model": env.str("OPENAI_FINETUNE_MODEL", ""),
    },
    "glm": {
        "base_url": env.str("ZHIPUAI_BASE_URL", ""),
        "key": secret("ZHIPUAI_API_KEY"),
        "model": env.str("ZHIPUAI_FINETUNE_MODEL", ""),
    },
    "together": {
        "base_url": env.str("TOGETHER_BASE_URL", ""),
        "key": secret("TOGETHER_API_KEY"),
        "model": env.str("TOGETHER_FINETUNE_MODEL", ""),
    },
}
# Addresses that people type into provider accounts must be https and outside; these hosts (host or host:port) may be any.
PROVIDER_HOSTS: list[str] = env.list("PROVIDER_HOSTS", [])
PROVIDER_TIMEOUT = env.float("PROVIDER_TIMEOUT", 30, validate=validate.Range(min=0.1))  # seconds without an answer
FINETUNE_POLL_SECONDS = env.float("FINETUNE_POLL_SECONDS", 10, validate=validate.Range(min=0.1))
FINETUNE_POLL_LIMIT_SECONDS = env.float("FINETUNE_POLL_LIMIT_SECONDS", 300, validate=validate.Range(min=0.1))
FINETUNE_SETTLING_SECONDS = env.float("FINETUNE_SETTLING_SECONDS", 60, validate=validate.Range(min=0))
PREDICT_AT_ONCE = env.int("PREDICT_AT_ONCE", 4, validate=validate.Range(min=1, max=100))  # questions to a provider
PREDICT_PATIENCE_SECONDS = env.float("PREDICT_PATIENCE_SECONDS", 120, validate=validate.Range(min=0))
FINETUNE_PROVIDER = env.str("FINETUNE_PROVIDER", "local")  # for doors that name none

# REST -----------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "labelhub.api.authentication.BearerAuthentication",
        "labelhub.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["labelhub.api.wire.JSONBody"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "labelhub.api.wire.AlwaysJSON",
    "DEFAULT_SCHEMA_CLASS": "labelhub.api.native.schema.Described",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "LabelHub",
    "DESCRIPTION": "Raw texts and images in, reviewed training files and fine-tuned models out.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/(v1/|auth/)?",
    "PREPROCESSING_HOOKS": ["labelhub.api.native.schema.ours_only"],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "TaskStatus": "samples.models.Task.Status",
        "SampleStatus": "samples.models.Sample.Status",
        "FineTuneStatus": "exports.models.FineTune.Status",
        "BatchState": "exports.models.Batch.State",
        "JobState": "labelhub.jobs.models.Job.State",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_AUTHENTICATION": [],
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=30),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "CHECK_REVOKE_TOKEN": True,  # a new password voids every token
    "SIGNING_KEY": SECRET_KEY,
}

# Logs: one JSON object a line, or readable lines on a terminal --------------------------------------------------------

LOG_LEVEL = env.log_level("LOG_LEVEL", logging.INFO)
LOG_JSON = env.bool("LOG_JSON", not sys.stderr.isatty())
LOGGING = configuration(level=LOG_LEVEL, as_json=LOG_JSON)
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = logging.DEBUG  # a request's one line is the one that says how it ended
DJANGO_STRUCTLOG_STATUS_4XX_LOG_LEVEL = logging.INFO  # a stranger's mistake is no warning to us

# The admin's look -----------------------------------------------------------------------------------------------------

STATICFILES_DIRS = [BASE_DIR / "labelhub" / "static"]
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
FORMAT_MODULE_PATH = ["labelhub.dates"]
UNFOLD = {
    "SITE_TITLE": "LabelHub",
    "SITE_HEADER": "LabelHub",
    "SITE_SUBHEADER": "Curate, approve, train",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SHOW_HISTORY": False,  # Django's own log of admin edits; the audit trail knows every change, from every door
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "BORDER_RADIUS": "6px",
    "STYLES": [lambda request: static("labelhub/hub.css")],
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("labelhub/icon.svg")},
    ],
    "DASHBOARD_CALLBACK": "labelhub.dashboard.dashboard",
    "SIDEBAR": {"show_search": False, "command_search": False, "navigation": "labelhub.sidebar.navigation"},
    "COMMAND": {"search_models": False},
    "ACCOUNT": {"navigation": "labelhub.sidebar.account_links"},
    "COLORS": {
        "primary": {
            "50": "#eff6fc",
            "100": "#dcebf8",
            "200": "#b9d7f0",
            "300": "#89bae4",
            "400": "#5197d3",
            "500": "#2c79bd",
            "600": "#1d61a0",
            "700": "#194e82",
            "800": "#18436c",
            "900": "#19395a",
            "950": "#10243b",
        }
    },
}
