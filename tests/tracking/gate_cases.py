"""A gate in front of a server: what passes is counted, and it gets into trouble when it is told to."""

import http.client
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class _Handler(BaseHTTPRequestHandler):
    """Passes a request on, unless its gate says otherwise."""

    def do_GET(self) -> None:
        gate: Gate = self.server.gate  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = self.path.partition("?")[0].rpartition("/mlflow/")[2]
        gate.calls[call] += 1
        if gate.refuses is not None:
            return self._answer(*gate.refuses)
        if gate.hangs:
            gate.end.wait()
            return None
        gate.end.wait(gate.held.pop(call, 0))
        status, answer = gate.behind(self.command, self.path, body, dict(self.headers))
        gate.end.wait(gate.late.get(call, gate.slow))
        return self._answer(status, answer)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - the names that Python asks for

    def _answer(self, status: int, body: bytes) -> None:
        with suppress(OSError):  # whoever asked has given up
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            gate: Gate = self.server.gate  # type: ignore[attr-defined]
            if gate.drips:
                for place in range(len(body)):
                    self.wfile.write(body[place : place + 1])
                    if gate.end.wait(gate.drips):
                        return
            else:
                self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@dataclass
class Gate:
    """An address of this machine behind which a server is, as long as the gate is open.

    `refuses` is a status and a text that it answers with, `hangs` is to accept and never to answer, `drips` the seconds
    from byte to byte of an answer. `late` has by name of the call the seconds after which an answer is let through,
    `slow` those of all others; the server has heard the call by then. `held` has the seconds after which the server
    hears the next call of a name. `calls` counts them all.
    """

    server: str = ""
    refuses: tuple[int, bytes] | None = None
    hangs: bool = False
    drips: float = 0.0
    slow: float = 0.0
    late: dict[str, float] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)
    calls: Counter = field(default_factory=Counter)
    end: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Listen, at the same port as before."""
        self._listening = ThreadingHTTPServer(("127.0.0.1", self.port), _Handler)
        self._listening.daemon_threads = True
        self._listening.gate = self  # type: ignore[attr-defined]
        self.port = self._listening.server_port
        self.end.clear()
        threading.Thread(target=self._listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Stop listening; whoever waits gets no answer any more."""
        self.end.set()
        self._listening.shutdown()
        self._listening.server_close()

    def behind(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return the answer of the server."""
        connection = http.client.HTTPConnection(urlsplit(self.server).netloc, timeout=60)
        try:
            connection.request(method, path, body, {**headers, "Host": urlsplit(self.server).netloc})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def seconds_of(function, *arguments) -> tuple[float, BaseException | None]:
    """Return how long a call takes, and what it raises."""
    started = time.perf_counter()
    try:
        function(*arguments)
    except Exception as error:
        return time.perf_counter() - started, error
    return time.perf_counter() - started, None
