"""GET /lens.js: the tracker's script, the same for every site, cached and compressed."""

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.views.decorators.http import require_safe

SCRIPT = Path(__file__).parent / "tracker" / "lens.js"
MAX_AGE_S = 3600


class Script(NamedTuple):
    """The script as it is, and as gzip."""

    plain: bytes
    packed: bytes
    digest: str


def load_script() -> Script:
    """The script as the file has it now; an edit is seen without a restart."""
    return _read(SCRIPT.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read(mtime_ns: int) -> Script:
    plain = SCRIPT.read_bytes()
    return Script(plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:20])


@require_safe
def lens_js(request: HttpRequest) -> HttpResponse:
    """The tracker, for pages of any origin. It sets no cookie and reads none."""
    script = load_script()
    packed = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    body = script.packed if packed else script.plain
    response = HttpResponse(body, content_type="application/javascript; charset=utf-8")
    response["Content-Length"] = str(len(body))
    # Two representations need two strong tags.
    response["ETag"] = f'"{script.digest}{"-gzip" if packed else ""}"'
    response["Cache-Control"] = f"public, max-age={MAX_AGE_S}"
    response["Access-Control-Allow-Origin"] = "*"
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    if packed:
        response["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ["Accept-Encoding"])
    answer = get_conditional_response(request, etag=response["ETag"], response=response)
    if not isinstance(answer, HttpResponse):  # there is always one, and never a stream
        return response
    if answer is not response:
        for name in ("Access-Control-Allow-Origin", "Cross-Origin-Resource-Policy"):
            answer[name] = response[name]
    elif request.method == "HEAD":
        response.content = b""
    return answer


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip; a quality of 0 refuses it."""
    allowed: dict[str, bool] = {}
    for part in header.lower().split(","):
        coding, _, parameters = part.partition(";")
        quality = parameters.replace(" ", "").removeprefix("q=") or "1"
        allowed[coding.strip()] = quality.strip("0.") != ""
    return allowed.get("gzip", allowed.get("*", False))
