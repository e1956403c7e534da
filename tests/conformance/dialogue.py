"""A behaviour of a cache as a short dialogue, and the one who plays it through a running proxy.

A step is one request of a client: what the origin would say, whether it is asked, and what the client gets. Whatever
the store answers is asked for once more in each lane: a step names the one that must take it, that lane's counter must
move, and with the hit lane switched off the answer must be the same, byte for byte. A plain first miss must be the fill
lane's; what the same dialogue gives with that lane switched off is for whoever plays both to compare. The clock is a
fake one. Nothing here knows a rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import formatdate

from tests.harness import Origin, Reply, Request, Response, reply
from tests.harness.proxy import Proxy

HIT, GENERAL = "hit", "general"
# What an answer of the origin says that the fill lane leaves to the general one.
HANDED_OVER = ("no-vary-search:", "cache-group", 'private="', 'no-cache="', "connection:", "206 |")
Transcript = list[tuple[object, ...]]


@dataclass
class Step:
    """`says`: the origin's answer as `status | field | field`, where {n} is a date n seconds from the dialogue's start,
    {now+n} one from this very moment, and {path} the dialogue's own path.
    """

    asked: bool | None  # is the origin asked? None: either will do
    says: str = "200"
    asks: str = ""  # the client's fields, parted by " | "
    after: float = 0  # seconds since the step before
    method: str = "GET"
    status: int | tuple[int, ...] | None = (
        None  # the client's, or one of several; default: the origin's, where it was asked
    )
    has: str = ""  # fields of the client's answer
    lacks: str = ""  # names, parted by blanks
    sent: str = ""  # fields of the request to the origin
    unsent: str = ""  # names that must not be in it
    path: str = ""  # behind the dialogue's own
    same: bool | None = None  # is the body that of the step before?
    gives: bytes | None = None  # the origin's body; default: one that no other step has
    body: bytes | None = None  # the client's
    content: bytes = b""  # of the request
    slow: float = 0  # seconds that the origin takes
    raw: bytes | None = None  # the origin's answer, byte for byte; the connection is closed behind it
    gone: bool = False  # the origin closes without a word
    lane: str = HIT  # that must take what the store answers
    aborted: bool = False  # the client's answer breaks off
    interim: str = ""  # statuses of the interim responses that the client gets


Steps = list[Step]


def miss(says: str = "200", asks: str = "", **more: object) -> Step:
    return Step(True, says, asks, **more)  # type: ignore[arg-type]


def hit(asks: str = "", **more: object) -> Step:
    return Step(False, "200", asks, **more)  # type: ignore[arg-type]


def general(asks: str = "", **more: object) -> Step:
    return Step(False, "200", asks, lane=GENERAL, **more)  # type: ignore[arg-type]


def stored(says: str, asks: str = "", **more: object) -> Steps:
    return [miss(says, asks), hit(asks, **{"same": True, **more})]


def unstored(says: str, asks: str = "", **more: object) -> Steps:
    return [miss(says, asks), miss(says, asks, **more)]


@dataclass
class Stage:
    """One origin and one proxy for all dialogues; each has a path of its own."""

    origin: Origin
    proxy: Proxy
    framing: str = "length"  # of the origin's answers
    fills: bool = True  # is the fill lane on?
    told: int = 0  # answers of the origin in this dialogue
    step: Step = field(default_factory=lambda: Step(None))
    start: int = 0
    base: str = "/"

    def rule(self, request: Request) -> Reply | None:
        """What the origin does with a request."""
        step = self.step
        self.told += 1
        self.proxy.advance(step.slow)
        if step.gone or step.raw is not None:
            request.conn.send(_filled(step.raw or b"", self.proxy.now()))
            request.conn.close()
            return None
        status, _, fields = step.says.partition(" | ")
        body = b"body %04d" % self.told if step.gives is None else step.gives
        bodiless = int(status) in (204, 304)
        framing = "length" if bodiless or request.method == "HEAD" else self.framing
        made = reply(int(status), self.lines(fields), b"" if bodiless else body, framing=framing)
        if request.method == "HEAD" and any(name.lower() == "content-length" for name, _ in made.fields):
            made.framing = "none"
        return made

    def lines(self, text: str) -> list[tuple[str, str]]:
        out = []
        for line in text.split(" | ") if text else []:
            name, _, value = line.partition(":")
            out.append((name, self._dated(value.strip())))
        return out

    def _dated(self, text: str) -> str:
        while "{" in text:
            start, end = text.index("{"), text.index("}")
            said = text[start + 1 : end]
            if said == "path":
                filled = self.base
            elif said.startswith("now"):
                filled = formatdate(self.proxy.now() + int(said[3:]), usegmt=True)
            else:
                filled = formatdate(self.start + int(said), usegmt=True)
            text = text[:start] + filled + text[end + 1 :]
        return text

    def play(self, name: str, steps: Steps) -> Transcript:
        """What the client got at each step."""
        self.base = "/" + name
        self.start = self.proxy.now()
        self.told = 0
        self.proxy._worker.fill_lane.enabled = self.fills
        body: bytes | None = None
        seen: Transcript = []
        for number, step in enumerate(steps):
            where = f"{name}, step {number}"
            if number == 0 and self.fills and self._plain_miss(step):
                self._leave_a_connection()
                with self.proxy.lanes(fill=1, general=0):
                    got = self._play(where, step, body)
            else:
                got = self._play(where, step, body)
            seen.append(_plain(got))
            body = got.body if step.method != "HEAD" and got.status != 304 else body
        return seen

    def _leave_a_connection(self) -> None:
        """The fill lane takes kept connections only; the dialogue before may have ended the last one."""
        self.step = Step(None, "204")
        with self.proxy.client() as client:
            assert client.ask("POST", "/warm").status == 204
        self.told = 0

    def _plain_miss(self, step: Step) -> bool:
        """Whether the fill lane has to take this request, the first one for its URL."""
        answered = step.raw is None and not step.gone and not step.interim
        plain = step.method == "GET" and not step.asks and not step.content
        return answered and plain and not any(part in step.says.lower() for part in HANDED_OVER)

    def _play(self, where: str, step: Step, before: bytes | None) -> Response:
        proxy, origin = self.proxy, self.origin
        self.step = step
        proxy.advance(step.after)
        asked = origin.count()
        got = self._ask(step)
        came = origin.count() > asked
        assert step.asked is None or came is step.asked, f"{where}: origin asked: {came}; {got}"
        told = int(step.says.partition(" | ")[0]) if came and step.raw is None and not step.gone else None
        wanted = step.status or told
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        assert wanted is None or got.status in allowed, f"{where}: {got}"
        for name, value in self.lines(step.has):
            assert value in got.all(name), f"{where}: {name}: {got.all(name)}"
        for name in step.lacks.split():
            assert name not in got, f"{where}: {name}: {got.all(name)}"
        if step.asked:
            for name, value in self.lines(step.sent):
                assert origin.last[name] == value, f"{where}: {name}: {origin.last[name]}"
            for name in step.unsent.split():
                assert name not in origin.last, f"{where}: {name}: {origin.last[name]}"
        if step.same is not None:
            assert (got.body == before) is step.same, f"{where}: {got.body!r} after {before!r}"
        if step.body is not None:
            assert got.body == step.body, f"{where}: {got.body!r}"
        assert got.aborted is step.aborted, f"{where}: {got}"
        if step.interim:
            assert [str(part.status) for part in got.interim] == step.interim.split(), where
        if step.asked is False:
            self._in_both_lanes(where, step, got)
        return got

    def _ask(self, step: Step) -> Response:
        with self.proxy.client() as client:
            client.request(step.method, self.base + step.path, self.lines(step.asks), step.content)
            return client.read_response(step.method, tolerate_abort=step.aborted)

    def _in_both_lanes(self, where: str, step: Step, first: Response) -> None:
        proxy = self.proxy
        for lane in (HIT, GENERAL):
            proxy._worker.lane.enabled = lane is HIT
            taken = step.lane if lane is HIT else GENERAL
            try:
                with proxy.lanes(hit=int(taken == HIT), general=int(taken == GENERAL)):
                    again = self._ask(step)
            except AssertionError as error:
                raise AssertionError(f"{where}: {error}") from None
            finally:
                proxy._worker.lane.enabled = True
            assert _plain(again) == _plain(first), f"{where}, {taken} lane: {again} after {first}"


def _plain(answer: Response) -> tuple[object, ...]:
    """All of an answer but the id that each of our own answers has."""
    own = ("X-Request-Id", "Content-Length") if "x-request-id" in answer else ()
    fields = [line for line in answer.fields if line[0] not in own]
    body = b"" if own else answer.body
    return answer.status, answer.reason, fields, body


def _filled(raw: bytes, now: int) -> bytes:
    return raw.replace(b"{now}", formatdate(now, usegmt=True).encode())
