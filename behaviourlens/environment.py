"""The settings that come from the environment, read once, typed, and refused loudly.

A value that cannot be used stops the start with one line that names the variable,
what it holds and what it should hold; no traceback, because the mistake is not in code.
"""

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import dj_database_url
from environs import Env, EnvError, validate

T = TypeVar("T")

_ORIGIN = re.compile(r"https?://([^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def refuse(message: str) -> NoReturn:
    """Stop the process with one clear line."""
    raise SystemExit(f"BehaviourLens cannot start: {message}")


def read(reader: Callable[..., T], name: str, default: T, **options: Any) -> T:
    """The variable `name` through `reader`; an unset or empty one gives `default`."""
    if not os.environ.get(name, "").strip():
        return default
    try:
        return reader(name, default, **options)
    except EnvError as error:
        detail = str(error).replace("\n", " ")
        refuse(f"{name}={os.environ[name]!r} cannot be used: {detail}")


def port(env: Env) -> int:
    return read(env.int, "PORT", 8000, validate=validate.Range(min=1, max=65535))


def positive(env: Env, name: str, default: int, most: int | None = None) -> int:
    return read(env.int, name, default, validate=validate.Range(min=1, max=most))


def origins(env: Env, name: str) -> list[str]:
    """A comma-separated list of origins (`https://shop.example`), or `*` for any."""
    named: list[str] = read(env.list, name, [])
    values = [value.strip().rstrip("/") for value in named]
    for value in values:
        if value != "*" and not _ORIGIN.fullmatch(value):
            refuse(
                f"{name} holds {value!r}, which is neither * nor an origin like https://shop.example"
            )
    return values


class Rates(NamedTuple):
    """Events a second from one address, and for one site's key."""

    address: int
    key: int


def rates(env: Env, name: str, default: str) -> Rates | None:
    """Two rates as `1000/20000`, for an address and for a key; None for `off`."""
    value = read(env.str, name, default).strip()
    if value == "off":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", value)
    if found is None:
        refuse(
            f"{name}={value!r} cannot be used: write events a second for an address and for "
            "a site's key, such as 1000/20000, or off"
        )
    return Rates(int(found[1]), int(found[2]))


def hosts(env: Env, debug: bool) -> list[str]:
    """ALLOWED_HOSTS; for local use this machine, and needed elsewhere."""
    named: list[str] = read(env.list, "ALLOWED_HOSTS", [])
    if not named and not debug:
        refuse("ALLOWED_HOSTS is not set, and DEBUG is off; set it to the host names it serves")
    return named or ["localhost", "127.0.0.1", "[::1]"]


def database(default: Path, sync: str) -> dict[str, Any]:
    """Django's DATABASES entry for DATABASE_URL: SQLite (the default) or PostgreSQL.

    sync: `full` where a commit has to survive a power cut; `normal` leaves PostgreSQL as its
    administrator set it, and lets SQLite write to the disk when it likes.
    """
    url = os.environ.get("DATABASE_URL", "").strip() or f"sqlite:///{default}"
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url))
    except (dj_database_url.ParseError, dj_database_url.UnknownSchemeError, ValueError):
        refuse(
            "DATABASE_URL cannot be read; write sqlite:////path/to/file.sqlite3 "
            "or postgres://user:password@host:5432/name"
        )
    if config["ENGINE"] == "django.db.backends.sqlite3":
        if config["NAME"] in {"", ":memory:"}:
            refuse("DATABASE_URL names a database in memory, of which each thread has its own")
        try:
            Path(config["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            refuse(f"the folder of the SQLite database cannot be made: {error}")
        config["OPTIONS"] = {
            # A writer takes its lock at once and waits for its turn, rather than failing half-way.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={sync.upper()};",
        }
    elif config["ENGINE"] != "django.db.backends.postgresql":
        refuse(
            "DATABASE_URL names a database other than SQLite or PostgreSQL; these two are supported"
        )
    elif not config["NAME"]:
        refuse("DATABASE_URL lacks the name of the database; write postgres://…/name")
    else:
        config.setdefault("OPTIONS", {})
        # A server that is gone is noticed in seconds, and not when the kernel gives up.
        for name, value in (("connect_timeout", 5), ("tcp_user_timeout", 10_000)):
            config["OPTIONS"].setdefault(name, value)
        if sync == "full":
            asked = config["OPTIONS"].get("options", "")
            config["OPTIONS"]["options"] = f"{asked} -c synchronous_commit=on".strip()
    return config


def secret_key(debug: bool, keyfile: Path) -> str:
    """SECRET_KEY, or for local use one that is made once and kept in `keyfile`."""
    value = os.environ.get("SECRET_KEY", "").strip()
    if value:
        return value
    if not debug:
        refuse("SECRET_KEY is not set, and DEBUG is off; set it to a long random string")
    try:
        keyfile.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Whole from the start, so that a second process never reads half a key.
            draft = keyfile.with_name(f"{keyfile.name}.{os.getpid()}")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(50))
            os.link(draft, keyfile)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
        kept = keyfile.read_text().strip()
    except OSError as error:
        refuse(f"the local secret key cannot be kept in {keyfile}: {error}; set SECRET_KEY instead")
    if not kept:
        refuse(f"the local secret key in {keyfile} is empty; delete the file, or set SECRET_KEY")
    return kept
