"""Django settings, from the environment (every variable starts with NETOPS_) or from the files under NETOPS_DATA."""

import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pghistory
from csp.constants import NONE, SELF
from django.utils.log import CallbackFilter

from netops import home

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")


def _words(name: str) -> list[str]:
    return os.environ.get(name, "").replace(",", " ").split()


def _database(role: str) -> dict[str, Any]:
    url = urlsplit(home.database_url(role))
    if url.scheme not in ("postgresql", "postgres"):
        home.fail(f"the {role} database URL must start with postgresql://.")
    host, _, port = url.netloc.rpartition("@")[2].partition(":")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.lstrip("/"),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": unquote(host),
        "PORT": port,
        # A transaction that hangs gives its row locks back, whatever its process is doing.
        "OPTIONS": {
            "pool": {"min_size": 0, "max_size": 12, "timeout": 10},
            "options": "-c idle_in_transaction_session_timeout=60000",
        }
        if role == "app"
        else {},
    }


def _openid_apps() -> list[dict[str, Any]]:
    """The one OpenID provider that people may sign in with: NETOPS_OIDC_SERVER is its address, or its discovery URL."""
    server, client = os.environ.get("NETOPS_OIDC_SERVER", ""), os.environ.get("NETOPS_OIDC_CLIENT_ID", "")
    if not server:
        return []
    if not client:
        home.fail("NETOPS_OIDC_SERVER is set without NETOPS_OIDC_CLIENT_ID: set both, or neither.")
    return [
        {
            "provider_id": "sso",
            "name": os.environ.get("NETOPS_OIDC_NAME") or "single sign-on",
            "client_id": client,
            "secret": os.environ.get("NETOPS_OIDC_SECRET", ""),
            "settings": {"server_url": server},
        }
    ]


VERSION = "0.1.0"
# What the rooms may know of where they live; netops/home.py is for the roof alone.
DATA = home.data()
GATEWAY_HOST = os.environ.get("NETOPS_GATEWAY_HOST") or "127.0.0.1"
GATEWAY_PORT = home.port("gateway")
SSH_PORT = home.port("ssh")
# Where browsers reach consoles at the gateway: behind a proxy, which sends /console/ there, as everything else.
CONSOLE_PORT = home.port("console")
CONSOLE_URL = os.environ.get("NETOPS_CONSOLE_URL", "").rstrip("/")
# Where people reach them with an SSH client.
CONSOLE_SSH_PORT = home.port("console_ssh")
# Where `web` itself reaches them, as a program.
CONSOLE_INNER_URL = (os.environ.get("NETOPS_CONSOLE_INNER_URL") or f"ws://127.0.0.1:{CONSOLE_PORT}").rstrip("/")
CONSOLE_STORE = Path(os.environ.get("NETOPS_CONSOLE_STORE") or DATA / "consoles")
# Bytes of a port's log; what is older is dropped.
CONSOLE_KEEP = int(os.environ.get("NETOPS_CONSOLE_KEEP_MB") or 256) << 20
# Between two tests of a console.
CONSOLE_TEST_MINUTES = float(os.environ.get("NETOPS_CONSOLE_TEST_MINUTES") or 60)
# Days after which it is dropped however little it is, whole segments at a time.
CONSOLE_KEEP_DAYS = int(os.environ.get("NETOPS_CONSOLE_KEEP_DAYS") or 90)
SECRET_KEY = home.secret("secret_key")
# The pepper of API token secrets: a stolen database alone does not open a door.
TOKEN_PEPPER = home.secret("token_pepper")
# What /metrics asks for (netops/metrics.py).
METRICS_TOKEN = home.secret("metrics_token")
# Newest first: secrets at rest are encrypted under the first and read under any (core/secrets.py).
SECRETS_KEYS = home.secrets_keys
DEBUG = _flag("NETOPS_DEBUG")
PUBLIC_URL = (os.environ.get("NETOPS_PUBLIC_URL") or f"http://127.0.0.1:{home.port('web')}").rstrip("/")
_public = urlsplit(PUBLIC_URL)
# Where agents reach the gateways, each of which names itself first. NETOPS_GATEWAY_PIN: a proxy ends TLS before them,
# with this key (SHA-256, base64).
GATEWAY_URLS = _words("NETOPS_GATEWAY_URL") or [f"wss://{_public.hostname}:{GATEWAY_PORT}/link"]
GATEWAY_URL = GATEWAY_URLS[0]
SSH_HOST: str = urlsplit(GATEWAY_URL).hostname or ""
GATEWAY_PIN = os.environ.get("NETOPS_GATEWAY_PIN", "")
if GATEWAY_PIN and not re.fullmatch(r"[0-9A-Za-z+/]{43}=", GATEWAY_PIN):
    home.fail("NETOPS_GATEWAY_PIN must be the base64 of a SHA-256: docs/operations.md has the command that prints it.")
ALLOWED_HOSTS = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    _public.hostname or "localhost",
    SSH_HOST or "localhost",  # the gateway answers agents' enrolments and reports by the same rules
    *_words("NETOPS_ALLOWED_HOSTS"),
]
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]

# Hosts and networks that entries of users may reach although they are private (core/outbound.py).
OUTBOUND_ALLOW = _words("NETOPS_OUTBOUND_ALLOW")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "pgtrigger",
    "pghistory",
    "channels",
    "core",
    "tenancy",
    "ticketing",
    "inventory",
    "agents",
    "probing",
    "consoles",
    "lab",
    "netops",
    # Behind ours, whose templates come first.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
]

MIDDLEWARE = [
    "netops.metrics.RequestTimes",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "tenancy.middleware.TeamScopeMiddleware",
]

ROOT_URLCONF = "netops.urls"
ASGI_APPLICATION = "netops.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tenancy.context_processors.team",
            ],
            "builtins": ["core.templatetags.shell"],
        },
    }
]

# `app` serves everything; `owner` runs migrations. Row-level security binds `app` because it owns nothing.
DATABASES = {"default": _database("app"), "owner": _database("owner")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Nobody looks for the events that mention a row, and each index would cost every change.
PGHISTORY_FOREIGN_KEY_FIELD = pghistory.ForeignKey(related_name="+", related_query_name="+", db_index=False)
# Raised after each migrate, like the walls (netops/walls.py): Django would render every model again for each trigger.
PGTRIGGER_MIGRATIONS = False

REDIS_URL = home.redis_url()
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
CHANNEL_PREFIX = "netops"
CHANNEL_LAYERS = {
    "default": {
        # The PubSub layer outlives a server restart and idle times; the core layer does not (docs/architecture.md).
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": CHANNEL_PREFIX},
    }
}

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": None,
    # A nudge while Valkey is away fails at once (kombu would hold every commit for 6 s); the sweep makes it good.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BEAT_SCHEDULE_FILENAME = str(home.data() / "run" / "beat")
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "core.tasks.sweep", "schedule": 5.0, "options": {"expires": 5}},
    "stale": {"task": "inventory.tasks.mark_stale_sources", "schedule": 5.0, "options": {"expires": 5}},
    "agents": {"task": "agents.tasks.watch", "schedule": 5.0, "options": {"expires": 5}},
    "consoles": {"task": "consoles.tasks.watch", "schedule": 5.0, "options": {"expires": 5}},
    "silent": {"task": "probing.tasks.mark_silent", "schedule": 5.0, "options": {"expires": 5}},
    "lines": {"task": "consoles.tasks.take_lines", "schedule": 5.0, "options": {"expires": 5}},
    "old-logs": {"task": "consoles.tasks.drop_old", "schedule": 3600.0, "options": {"expires": 600}},
    "partitions": {
        "task": "probing.tasks.ensure_partitions",
        "schedule": 3600.0,
        "options": {"expires": 600},
    },
}

AUTH_USER_MODEL = "tenancy.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
# An account comes from an invitation link or from the OpenID provider; nobody signs up just so.
ACCOUNT_ADAPTER = "tenancy.adapters.AccountAdapter"
ACCOUNT_FORMS = {"login": "tenancy.forms.SignInForm"}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = "netops: "
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _public.scheme
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "20/m/ip,5/5m/key"}
MFA_ADAPTER = "tenancy.adapters.SecondFactorAdapter"
MFA_FORMS = {"authenticate": "tenancy.forms.CodeForm"}
MFA_TOTP_ISSUER = "netops"
MFA_TOTP_TOLERANCE = 1
# Who came by an invitation link may protect the account before the address is confirmed.
MFA_ALLOW_UNVERIFIED_EMAIL = True
SOCIALACCOUNT_ADAPTER = "tenancy.adapters.ProviderAdapter"
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": _openid_apps(), "OAUTH_PKCE_ENABLED": True}}
# The operator chose the provider, so an address that it vouches for is the account with that confirmed address.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
# A link, because `form-action` would have to name the provider.
SOCIALACCOUNT_LOGIN_ON_GET = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _public.scheme == "https"
# PiCon agents follow no redirect.
SECURE_REDIRECT_EXEMPT = [r"^picon/"]
SECURE_HSTS_SECONDS = 31_536_000 if _public.scheme == "https" else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _public.scheme == "https"
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
BEHIND_PROXY = _flag("NETOPS_BEHIND_PROXY")
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        # Without a proxy consoles have a port of their own.
        "connect-src": [SELF, CONSOLE_URL or f"ws://*:{CONSOLE_PORT}"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Requests a minute for each API token.
API_RATE = int(os.environ.get("NETOPS_API_RATE") or 6000)
# Requests a minute that agents may send from one address; many may sit behind one.
AGENT_RATE = int(os.environ.get("NETOPS_AGENT_RATE") or 3000)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenancy.api.TokenAuthentication",
        "tenancy.api.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["tenancy.api.TeamPermission"],
    "DEFAULT_THROTTLE_CLASSES": ["tenancy.api.SeatThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["core.renderers.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "core.api.schema.ResourceSchema",
    "EXCEPTION_HANDLER": "core.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

# The system's own mail (invitations, addresses to confirm); desks have mail servers of their own.
EMAIL_HOST = os.environ.get("NETOPS_EMAIL_HOST") or "127.0.0.1"
EMAIL_PORT = int(os.environ.get("NETOPS_EMAIL_PORT") or home.port("mail"))
EMAIL_HOST_USER = os.environ.get("NETOPS_EMAIL_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("NETOPS_EMAIL_PASSWORD", "")
EMAIL_USE_TLS = os.environ.get("NETOPS_EMAIL_SECURITY") == "starttls"
EMAIL_USE_SSL = os.environ.get("NETOPS_EMAIL_SECURITY") == "tls"
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = os.environ.get("NETOPS_EMAIL_FROM") or f"netops@{_public.hostname}"

SPECTACULAR_SETTINGS = {
    "TITLE": "netops",
    "DESCRIPTION": "Topology, paths, incidents and tickets of a team, in the dialect of NetBox.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [],
    "PREPROCESSING_HOOKS": ["core.api.schema.only_api"],
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

DEFAULT_EXCEPTION_REPORTER = "core.reporting.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "core.reporting.NoVariables"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "core.redaction.Redacting", "fmt": "%(levelname)s %(name)s: %(message)s"}},
    # 503 is how /health/ says that something is still starting.
    "filters": {"no_503": {"()": CallbackFilter, "callback": lambda record: getattr(record, "status_code", 0) != 503}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "filters": ["no_503"], "stream": sys.stderr, "formatter": "line"}
    },
    "root": {"handlers": ["stderr"], "level": os.environ.get("NETOPS_LOG_LEVEL", "WARNING").upper()},
    "loggers": {"netops": {"level": os.environ.get("NETOPS_LOG_LEVEL", "INFO").upper()}},
}
# 400-class answers are the client's business and are already in the proxy's log.
LOGGING["loggers"]["django.request"] = {"level": "ERROR"}  # type: ignore[index]
