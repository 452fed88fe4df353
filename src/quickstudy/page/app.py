"""The web page's application: one page, its HTTP API, and the description of that."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import anyio
from anyio import to_thread
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

from quickstudy.page.described import described
from quickstudy.page.guard import Guard
from quickstudy.page.routes import Server, router
from quickstudy.page.safe import Limits, Refused
from quickstudy.ready import Ready

KINDS = ("pictures", "texts")
STATIC = Path(str(files("quickstudy"))) / "page" / "static"
SWEEP_SECONDS = 15.0
REQUESTS = 16
"""That are worked on beside each other; each may hold a task's pictures, small, until the learner is free."""
ABOUT = """Show a few examples of each class, ask about others, and see what the answer rests on.

Begin a session, and send its name as the header X-Session from then on. A session sees its own examples alone. All
is held in memory, and forgotten when you say so or when the session has been still for a while; nothing is written to
disk.
"""


def create_app(
    ready: Ready, *, name: str = "learner", token: str | None = None, limits: Limits | None = None
) -> FastAPI:
    """The application, for any ASGI server; without a token it answers to the names of this machine alone.

    Args:
        ready: A learner of pictures or texts.
        name: What to call it.
        token: What every request to the API must bring as `Authorization: Bearer TOKEN`.
        limits: How much is taken.

    Raises:
        ValueError: A learner of something else, or a token that could be guessed.
    """
    if ready.inputs.kind not in KINDS:
        raise ValueError(f"the page takes pictures or texts; {name!r} is a learner of {ready.inputs.kind}.")
    if token is not None and not (len(token) >= 16 and token.isascii()):
        raise ValueError(f"a token that nobody guesses has 16 ASCII characters at least; this one has {len(token)}.")
    server = Server(ready, name, limits or Limits())

    @asynccontextmanager
    async def forgetting(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = REQUESTS
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sweep_for_ever, server.sessions.sweep)
            yield
            tasks.cancel_scope.cancel()

    app = FastAPI(
        title="Quickstudy", description=ABOUT, version="1", docs_url=None, redoc_url=None, lifespan=forgetting
    )
    app.state.server = server
    app.add_middleware(Guard, token=token, limits=server.limits)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.include_router(router, dependencies=[] if token is None else [Depends(HTTPBearer(auto_error=False))])
    app.mount("/static", StaticFiles(directory=STATIC))

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    def documentation() -> HTMLResponse:
        return HTMLResponse(described(app.openapi()))

    return app


async def sweep_for_ever(sweep: Callable[[], None]) -> None:
    while True:
        await anyio.sleep(SWEEP_SECONDS)
        sweep()


def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"detail": error.detail}, error.status)


def invalid(_: Request, error: Exception) -> Response:
    """The first thing that is wrong with a request, in one sentence that repeats nothing of it."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{place}: {first['msg']}."}, 413 if "too_long" in first["type"] else 422)
