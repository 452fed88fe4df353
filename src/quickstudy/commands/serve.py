"""The command that opens the web page: serve."""

import secrets
import socket
from typing import Annotated
from urllib.parse import quote

import torch
import typer
from rich.text import Text

from quickstudy.commands.console import out
from quickstudy.commands.options import at_least
from quickstudy.ready import opened


def serve_command(
    learner: Annotated[
        str, typer.Argument(help="images, handwriting or text, which ship; or a run's folder.")
    ] = "images",
    host: Annotated[str, typer.Option(help="Another than this machine's own needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen.", callback=at_least(0, 65535))] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="QUICKSTUDY_TOKEN",
            help="What every request must bring; made up and printed where one is needed and none is given. Other "
            "users of this machine can read the command line, so the variable is the safer place.",
        ),
    ] = None,
) -> None:
    """Open the web page: show a few pictures or texts of each class, ask, and see what the answer rests on.

    Nothing that is uploaded is written to disk. Ctrl-C ends it.

    Example: quickstudy serve

    Example: quickstudy serve text --host 0.0.0.0 --port 9000
    """
    try:
        import uvicorn

        from quickstudy.page.app import create_app
        from quickstudy.page.guard import is_local
    except ImportError:
        raise ImportError("the web page needs its packages: pip install 'quickstudy[page]'.") from None
    if not is_local(host):
        token = token or secrets.token_urlsafe(32)
    torch.set_num_threads(1)  # tasks are small, and where other work shares the cores threads would wait for each other
    app = create_app(opened(learner), name=learner, token=token)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ValueError(
            f"nothing can listen at {host}, port {port} ({error}); pass another --port, or --host."
        ) from None
    port = listening.getsockname()[1]
    named = socket.gethostname() if host in ("0.0.0.0", "::") else host
    place = f"http://{f'[{named}]' if ':' in named else named}:{port}/"
    said = [f"{place}#token={quote(token, safe='')}" if token else place]
    if not is_local(host):
        said.append("Whoever has this address can use the page. Put a proxy with TLS before it: it speaks plain HTTP.")
    for line in said:
        out.print(Text(line), soft_wrap=True)
    config = uvicorn.Config(app, log_level="warning", server_header=False, limit_concurrency=64)
    uvicorn.Server(config).run(sockets=[listening])
