"""Keeps everybody but the user's own browser out of a server on this machine.

- Only requests by the names of this machine are answered: a site whose name leads here (DNS
  rebinding) is not one of them.
- Each request needs the token, which is in the address that is printed; the page keeps it as a
  cookie. Other users of the machine do not know it.
- Requests of pages of other sites or ports are refused by their `Origin`; no CORS header is sent.
"""

from __future__ import annotations

import re
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
"""With any port: a tunnel may have another than the server."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Middleware that lets only requests with the token through, and adds headers of security."""

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        """Guard an application.

        Args:
            app: what is guarded.
            token: secret in the address.
            cookie: name of the cookie; browsers send those of all ports, so that it must differ.
        """
        self.app = app
        self.token = token
        self.cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        answer = self._refusal(scope) or self._entrance(scope) or self.app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not _HOST.fullmatch(host):
            return _refused(f"This server is not '{host}'. Open it as 127.0.0.1 or localhost.")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return _refused("Only the labelling page itself may use this server.")
        if not self._has_token(headers, QueryParams(scope["query_string"])):
            return _refused(
                "The token is missing or wrong. Open the address that `detfinetune label` has "
                "printed last, with its token."
            )
        return None

    def _has_token(self, headers: Headers, query: QueryParams) -> bool:
        cookies = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            cookies.clear()
        cookie = cookies.get(self.cookie)
        given = (
            query.get("token"),
            headers.get("authorization", "").removeprefix("Bearer "),
            cookie.value if cookie else None,
        )
        return any(
            secrets.compare_digest(text.encode(), self.token.encode()) for text in given if text
        )

    def _entrance(self, scope: Scope) -> Response | None:
        """Exchange the token in the page's address for a cookie, out of history and logs."""
        if scope["path"] != "/" or "token" not in QueryParams(scope["query_string"]):
            return None
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="lax")
        return answer


def _refused(reason: str) -> Response:
    return JSONResponse({"error": reason}, status_code=403)
