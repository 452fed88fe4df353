"""The routes of the HTTP API: what each takes from a request, and gives back of a session's task."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Header, Request, Response

from quickstudy.checks.labels import doubtful
from quickstudy.none_of_these import STRANGE
from quickstudy.page import models
from quickstudy.page.safe import Limits, Refused, decoded
from quickstudy.page.samples import sample
from quickstudy.page.sessions import Sessions
from quickstudy.page.task import Answer, Item, Task
from quickstudy.ready import Ready
from quickstudy.shipping import task_bytes

REASONS = {
    400: "A request that is no HTTP or JSON, or for another machine.",
    401: "No token, or a wrong one, where the server asks for one.",
    403: "From the page of another site.",
    404: "No such session or example.",
    408: "The request took too long to arrive.",
    409: "Examples of fewer than two classes.",
    413: "Too many examples, bytes or pixels.",
    415: "No JSON, or no PNG or JPEG picture.",
    422: "Another form than is described here, or what the learner cannot learn, or ONNX not hold.",
    424: "The server lacks the packages for ONNX.",
    429: "Too many sessions.",
    503: "The learner is busy.",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": models.Problem, "description": why} for status, why in REASONS.items()
}
FILE = "application/octet-stream"


class Server:
    """A learner, the sessions that share it, and whose turn it is.

    Args:
        ready, name, limits: See `create_app`.
    """

    def __init__(self, ready: Ready, name: str, limits: Limits):
        self.ready, self.name, self.limits = ready, name, limits
        self.sessions = Sessions(partial(Task, ready, limits), limits)
        self.lock, self.exporting = Lock(), Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One request at a time computes; its limits bound for how long.

        Raises:
            Refused: It took too long until others were done (503).
        """
        if not self.lock.acquire(timeout=self.limits.wait_seconds):
            raise Refused(503, "the learner is busy with other requests; try again.")
        try:
            yield
        finally:
            self.lock.release()

    @contextmanager
    def export(self) -> Iterator[None]:
        """One task at a time is exported, beside whatever else goes on.

        Raises:
            Refused: Another one is (503): to wait would keep a thread from other requests.
        """
        if not self.exporting.acquire(blocking=False):
            raise Refused(503, "another task is being exported; try again in a minute.")
        try:
            yield
        finally:
            self.exporting.release()

    def items(self, contents: Sequence[str], what: str) -> list[Item]:
        """What examples or queries hold."""
        return [self.item(content, f"{what} {place}") for place, content in enumerate(contents)]

    def item(self, content: str, name: str) -> Item:
        if self.ready.inputs.kind == "pictures":
            return Item(*decoded(content, name, self.limits))
        if not content.strip():
            raise Refused(422, f"{name} is empty; leave it out.")
        if len(content) > self.limits.characters:
            raise Refused(
                413, f"{name} has {len(content):,} characters, and {self.limits.characters:,} are allowed; shorten it."
            )
        return Item(content, content.encode())


def server_of(request: Request) -> Server:
    return request.app.state.server


Serving = Annotated[Server, Depends(server_of)]
Name = Annotated[str, Header(alias="X-Session", description="The name of the session.")]


def task_of(server: Serving, session: Name) -> Task:
    return server.sessions.get(session)


Own = Annotated[Task, Depends(task_of)]
router = APIRouter(prefix="/api", responses=PROBLEMS)


@router.get("/about", operation_id="about")
def about(server: Serving) -> models.About:
    """What learner this is, and how much it takes."""
    kind, limits = server.ready.inputs.kind, server.limits
    names = ("classes", "queries", "picture_bytes", "pixels", "characters", "session_seconds")
    found = {name: getattr(limits, name) for name in names}
    return models.About(learner=server.name, kind=kind, per_class=limits.per_class(kind), strange=STRANGE, **found)


@router.get("/sample", operation_id="sample")
def built_in(server: Serving) -> models.Sample:
    """A small task to begin with."""
    return sample(server.ready.inputs.kind)


@router.post("/sessions", operation_id="begin", status_code=201)
def begin(server: Serving) -> models.Begun:
    """Begin a session."""
    return models.Begun(session=server.sessions.begin(), seconds=server.limits.session_seconds)


@router.post("/adapt", operation_id="adapt")
def adapt(showing: models.Showing, task: Own, server: Serving) -> models.Learned:
    """Learn from more examples, beside those that the session has."""
    labels = [shown.label for shown in showing.examples]
    task.check_room(labels)  # before anything is decoded
    items = server.items([shown.content for shown in showing.examples], "example")
    with server.turn():
        added = task.add(labels, items)
        return learned(task, added)


@router.post("/predict", operation_id="predict")
def predict(asking: models.Asking, task: Own, server: Serving) -> models.Answers:
    """Answer queries; they are not learned from."""
    items = server.items(asking.queries, "query")
    with server.turn():
        classes, answers = task.answers(items, asking.missed)
    return models.Answers(answers=[told(classes, answer) for answer in answers])


@router.post("/forget", operation_id="forget")
def forget(forgetting: models.Forgetting, session: Name, task: Own, server: Serving) -> models.Learned:
    """Forget some examples and learn anew from the others; or the whole session, at once."""
    if forgetting.examples is None:
        server.sessions.end(session)
        return models.Learned(added=[], classes={}, ready=False, left_out=None)
    with server.turn():
        task.forget(forgetting.examples)
        return learned(task, [])


@router.get("/task", operation_id="download", response_class=Response, responses={200: {"content": {FILE: {}}}})
def download(task: Own, server: Serving) -> Response:
    """What was learned, as a file for quickstudy predict and load_task."""
    with server.turn():
        content = task_bytes(task.learned())
    return attached(content, "task.safetensors")


@router.get("/task.onnx", operation_id="export", response_class=Response, responses={200: {"content": {FILE: {}}}})
def export(task: Own, server: Serving) -> Response:
    """What was learned, as an ONNX file: from examples to the probabilities of the classes, without PyTorch.

    It takes a while. The file's metadata say what it takes, as JSON: pictures of some size with pixels in [0, 1], or
    the embeddings of texts; and the names of the classes.
    """
    with server.export():
        return attached(task.graph(), "task.onnx")


def attached(content: bytes, name: str) -> Response:
    return Response(content, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type=FILE)


def learned(task: Task, added: list[int]) -> models.Learned:
    labels = [example.label for example in task.examples]
    estimate = None
    if (found := task.left_out) and found.labels:
        low, high = found.interval
        doubts = [
            models.Doubt(example=int(found.items[place]), label=found.labels[place], rather=rather)
            for place, rather in doubtful(found)
        ]
        estimate = models.Estimate(right=found.right, of=len(found.labels), low=low, high=high, doubts=doubts)
    return models.Learned(
        added=added,
        classes={label: labels.count(label) for label in sorted(set(labels))},
        ready=task.classifier is not None,
        left_out=estimate,
    )


def told(classes: list[str], answer: Answer) -> models.Answer:
    probabilities = dict(zip(classes, np.clip(answer.probabilities, 0, 1).tolist(), strict=True))
    label = max(probabilities, key=lambda name: probabilities[name])
    return models.Answer(
        label=label,
        confidence=probabilities[label],
        probabilities=probabilities,
        set=[name for name, within in zip(classes, answer.within.tolist(), strict=True) if within],
        none_of_these=answer.none_of_these,
        strange=answer.none_of_these > STRANGE,
        nearest=[
            models.Near(example=example.number, label=example.label, distance=distance)
            for example, distance in answer.nearest
        ],
    )
