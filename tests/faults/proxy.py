"""A wire between Batchline and a database server that can be cut, also at the worst moment."""

import random
import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from sqlalchemy.engine import make_url

COMMIT = rb"(\x03COMMIT|COMMIT\x00)"
"""MySQL's command byte, or PostgreSQL's end of text, keep READ COMMITTED and AUTOCOMMIT out."""
ANYTHING = rb"\Z"
END = re.compile(rb"\x03(COMMIT|ROLLBACK)|(COMMIT|ROLLBACK)\x00")


@dataclass
class Fault:
    """What happens to a connection whose client sends something."""

    pattern: re.Pattern[bytes]
    lose_reply: bool
    chance: float
    times: float
    silent: bool = False
    passes: threading.Event | None = None
    struck: int = 0

    def strikes(self, sent: bytes, known: int, dice: random.Random) -> bool:
        """Whether these bytes of one transaction, of which `known` are not new, are hit."""
        arrives = any(match.end() > known for match in self.pattern.finditer(sent))
        hit = self.struck < self.times and arrives and dice.random() < self.chance
        self.struck += hit
        return hit


class Proxy:
    """Listens on a port of its own and connects each client to the server; `url` leads here.

    A fault's pattern is compared with all that a client has sent in its transaction, so it may
    span several statements, and packets may be split as they like.
    """

    def __init__(self, server_url: str, seed: int = 0) -> None:
        url = make_url(server_url)
        self.server = str(url.host), int(url.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        # What is encrypted cannot be read, and PyMySQL encrypts wherever the server can.
        clear = {"sslmode": "disable"} if "postgres" in url.drivername else {"ssl_disabled": "1"}
        proxied = url.set(host="127.0.0.1", port=port).update_query_dict(clear)
        self.url = proxied.render_as_string(hide_password=False)
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._sessions: set[_Session] = set()
        self._acceptor = threading.Thread(target=self._accept, name="proxy")

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        self._acceptor.join()
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> int:
        """Cut every connection now; how many there were."""
        with self._lock:
            sessions = [session for session in self._sessions if session.cut()]
            self._sessions.clear()
        return len(sessions)

    def count_open(self) -> int:
        """Return how many connections there are that neither side has ended."""
        with self._lock:
            return sum(not session.is_cut for session in self._sessions)

    def drop_silently(self) -> None:
        """Swallow what goes over the present connections from now on, and leave them open."""
        with self._lock:
            for session in self._sessions:
                session.is_silent = True

    def cut_at(self, pattern: bytes, *, chance: float = 1.0, times: float = 1) -> Fault:
        """Cut where a client sends the pattern, of which the server gets no more than half."""
        return self._add(Fault(re.compile(pattern, re.DOTALL), False, chance, times))

    def lose_reply_to(self, pattern: bytes, *, chance: float = 1.0, times: float = 1) -> Fault:
        """Let the pattern through, wait for the server's reply, and cut instead of passing it."""
        return self._add(Fault(re.compile(pattern, re.DOTALL), True, chance, times))

    def fall_silent_at(self, pattern: bytes) -> Fault:
        """Swallow the pattern and all that follows, and leave the connection open."""
        return self._add(Fault(re.compile(pattern, re.DOTALL), False, 1.0, 1, silent=True))

    def hold_at(self, pattern: bytes) -> Fault:
        """Keep the pattern, for once, until `passes` is set. Other connections go on."""
        found = Fault(re.compile(pattern, re.DOTALL), False, 1.0, 1, passes=threading.Event())
        return self._add(found)

    def heal(self) -> None:
        """Pass everything from now on."""
        with self._lock:
            self._faults.clear()

    def strike(self, sent: bytes, known: int) -> Fault | None:
        """The first fault that these bytes of one transaction meet."""
        with self._lock:
            hits = (fault for fault in self._faults if fault.strikes(sent, known, self._dice))
            return next(hits, None)

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def _accept(self) -> None:
        with suppress(OSError):  # until the listener is shut down
            while True:
                session = _Session(self, self._listener.accept()[0])
                with self._lock:
                    self._sessions.add(session)
                threading.Thread(target=session.run, daemon=True).start()


class _Session:
    """One client's connection and its own to the server; a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, socket.socket()
        self._keeps_reply = False
        self.is_silent = False
        self.is_cut = False
        self._once = threading.Lock()

    def run(self) -> None:
        try:
            self._server.connect(self._proxy.server)
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass_replies, daemon=True).start()
            self._pass_requests()
        except OSError:
            pass  # one of the two is gone, so the other one's connection goes too
        finally:
            self.cut()

    def cut(self) -> bool:
        """Close both connections; whether that is news."""
        if not self._once.acquire(blocking=False):
            return False
        for side in (self._client, self._server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
            side.close()
        self.is_cut = True
        return True

    def _pass_requests(self) -> None:
        sent = b""
        while data := self._client.recv(65536):
            if self.is_silent:
                continue
            known, sent = len(sent), sent + data
            fault = self._proxy.strike(sent, known)
            if fault and fault.silent:
                self.is_silent = True
                continue
            if fault and fault.passes is not None:
                fault.passes.wait()
                fault = None
            if fault and not fault.lose_reply:
                self._server.sendall(data[: len(data) // 2])
                return
            self._keeps_reply = fault is not None
            self._server.sendall(data)
            if END.search(sent):
                sent = b""

    def _pass_replies(self) -> None:
        try:
            while (data := self._server.recv(65536)) and not self._keeps_reply:
                if not self.is_silent:
                    self._client.sendall(data)
        except OSError:
            pass
        finally:
            self.cut()
