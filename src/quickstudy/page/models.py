"""What the HTTP API takes and gives, as its OpenAPI description shows it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from quickstudy.page.safe import Limits

LIMITS = Limits()
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Content = Annotated[
    str, Field(min_length=1, max_length=LIMITS.body_bytes, description="A PNG or JPEG file in base64; or a text.")
]
Number = Annotated[int, Field(ge=1, le=2**53, description="Of an example, within its session.")]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Nothing but what is described."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str = Field(examples=["there is no such session, or it was still for too long and is forgotten."])


class Begun(BaseModel):
    """A new session."""

    session: str = Field(description="Send it as the header X-Session.")
    seconds: float = Field(description="After its last request it is forgotten with all that it holds.")


class About(BaseModel):
    """What learner this is, and how much it takes."""

    learner: str
    kind: str = Field(description="Of examples: pictures or texts.")
    classes: int = Field(description="The most classes.")
    per_class: int = Field(description="The most examples of a class.")
    queries: int = Field(description="The most queries of a request.")
    picture_bytes: int
    pixels: int
    characters: int
    session_seconds: float
    strange: Share = Field(description="Above this share the answer is none of these.")


class Shown(Strict):
    """A labelled example."""

    label: Label
    content: Content


class Showing(Strict):
    """Examples to learn from, beside those that the session has."""

    examples: list[Shown] = Field(min_length=1, max_length=LIMITS.classes * LIMITS.lines)


class Doubt(BaseModel):
    """An example whose label is probably another, told by the others."""

    example: Number
    label: str
    rather: str


class Estimate(BaseModel):
    """Leave-one-out: how many examples the learner, shown all others, gives the label that they have."""

    right: int
    of: int = Field(description="Examples whose class has another.")
    low: Share = Field(description="The 95% interval of Wilson (1927) of the share of right answers.")
    high: Share
    doubts: list[Doubt]


class Learned(BaseModel):
    """What a session has learned."""

    added: list[Number] = Field(description="Of the examples that this request brought, in its order.")
    classes: dict[str, int] = Field(description="How many examples there are of each class.")
    ready: bool = Field(description="Whether there are two classes at least, so that queries can be answered.")
    left_out: Estimate | None = Field(description="None where no class has two examples.")


class Asking(Strict):
    """Queries."""

    queries: list[Content] = Field(min_length=1, max_length=LIMITS.queries)
    missed: float = Field(0.1, gt=0, lt=1, description="The share of queries whose right class their set may lack.")


class Near(BaseModel):
    """An example, and how far it is from a query in the learner's embedding."""

    example: Number
    label: str
    distance: float


class Answer(BaseModel):
    """What is answered for a query."""

    label: str
    confidence: Share
    probabilities: dict[str, Share]
    set: list[str] = Field(description="The classes that may be the right one.")
    none_of_these: Share = Field(description="The share of examples of these classes that are less unlike them.")
    strange: bool = Field(description="Whether it is unlike all classes, so that none of these is the answer.")
    nearest: list[Near]


class Answers(BaseModel):
    """What is answered, in the order of the queries."""

    answers: list[Answer]


class Forgetting(Strict):
    """What to forget."""

    examples: list[Number] | None = Field(
        None, max_length=LIMITS.classes * LIMITS.lines, description="Their numbers; without them the whole session."
    )


class Sample(BaseModel):
    """Examples and queries to begin with."""

    title: str
    examples: list[Shown]
    queries: list[str]
