"""What every request passes first: who asks, from where, how much; and the headers of every answer."""

import hmac
import json
from ipaddress import ip_address
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quickstudy.page.safe import Limits, Refused

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Refuses what must not reach the routes, and holds bodies in memory.

    Args:
        app: The routes.
        token: What every request to the API must bring as `Authorization: Bearer`; None where only this machine asks.
        limits: Of bodies.
    """

    def __init__(self, app: ASGIApp, token: str | None, limits: Limits):
        self.app, self.token, self.limits = app, token, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Cache-Control"] = "no-store" if scope["path"].startswith("/api/") else "no-cache"
            await send(message)

        try:
            self.check(scope)
            body = await self.body_of(receive, Headers(scope=scope))
        except Refused as refused:
            return await refuse(refused, send_guarded)
        if body is None:  # the client is gone
            return None
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_again() -> Message:
            return next(parts, None) or await receive()

        return await self.app(scope, receive_again, send_guarded)

    def check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self.token is None and not is_local(name_of(headers.get("host", ""))):
            raise Refused(
                400, "without a token this server answers only to the name of this machine, such as 127.0.0.1."
            )
        if not scope["path"].startswith("/api/"):
            return
        given = headers.get("authorization", "").removeprefix("Bearer ").encode()
        if self.token is not None and not hmac.compare_digest(given, self.token.encode()):
            raise Refused(401, "this server asks for its token: send it as the header Authorization: Bearer TOKEN.")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refused(403, "this request comes from the page of another site.")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        if scope["method"] == "POST" and not empty and kind != "application/json":
            raise Refused(415, f"this API takes JSON, with content-type application/json; not {kind or 'nothing'!r}.")

    async def body_of(self, receive: Receive, headers: Headers) -> bytes | None:
        most = self.limits.body_bytes
        too_large = Refused(413, f"a request has {most:,} bytes at most; send fewer or smaller examples at a time.")
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > most:
            raise too_large
        body = bytearray()
        with anyio.move_on_after(self.limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > most:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
        raise Refused(408, f"the request did not arrive within {self.limits.body_seconds:g} seconds.")


def name_of(host: str) -> str | None:
    """A host's name or address without its port; None where it has none or is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def is_local(host: str | None) -> bool:
    """Whether a host's name or address is that of the machine itself."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


async def refuse(refused: Refused, send: Send) -> None:
    """Answers with a status and a sentence."""
    headers = [(b"content-type", b"application/json")]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": refused.detail}).encode()})
