"""A hub under attack, and the record of an attack."""

import base64
import json
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil


@dataclass(frozen=True)
class Row:
    """held: whether the server's answer is what it promises."""

    attack: str
    answer: str
    held: bool


@dataclass
class Hub:
    """A hub under attack. secret: a file that only the server's user can read, and what it says."""

    url: str
    auth: str | None = None
    pid: int | None = None
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="attacks-")))

    def __post_init__(self) -> None:
        self.host, self.port = urlsplit(self.url).hostname, urlsplit(self.url).port
        self.words = f"secret {secrets.token_hex(16)}"
        self.secret, self.link = self.folder / "secret.png", self.folder / "link.png"
        self.secret.write_text(self.words)
        self.link.symlink_to(self.secret)
        self.headers = {"Authorization": f"Basic {base64.b64encode(self.auth.encode()).decode()}"} if self.auth else {}
        self.pages: list[str] = httpx.get(f"{self.url}/health", timeout=60, trust_env=False).json()["pages"]

    @contextmanager
    def client(self, page: str = "") -> Iterator[httpx.Client]:
        """A visitor; of a page, one who has opened it."""
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=30, trust_env=False) as client:
            if page:
                client.get(f"/{page}/").raise_for_status()
            yield client

    def cookie(self) -> str:
        """Of a new visitor of the first page."""
        with self.client(self.pages[0]) as client:
            return "; ".join(f"{name}={value}" for name, value in client.cookies.items())

    def ask(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        """A request whose path no library has tidied; one that posts something posts an empty object."""
        body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" if method == "POST" else "\r\n"
        said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with socket.create_connection((self.host, self.port), timeout=30) as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{said}{body}".encode())
            content = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = content.partition(b"\r\n\r\n")
        return httpx.Response(int(head.split(b" ")[1]), content=body)

    def memory(self) -> float:
        """Of the server, MB."""
        return psutil.Process(self.pid).memory_info().rss / 1e6 if self.pid else 0.0

    def settle(self, patience: float = 120) -> None:
        """Wait until the server rests: until it computes for less than a tenth of two seconds."""
        server, until = psutil.Process(self.pid), time.monotonic() + patience
        while time.monotonic() < until:
            before = server.cpu_times().user
            time.sleep(2)
            if server.cpu_times().user - before < 0.2:
                return

    def healthy(self) -> float:
        """Seconds until /health has answered; 60 where it does not."""
        began = time.monotonic()
        try:
            answer = httpx.get(f"{self.url}/health", timeout=60, trust_env=False)
        except httpx.HTTPError:
            return 60.0
        return time.monotonic() - began if answer.is_success else 60.0

    def tells(self, text: str) -> bool:
        """Whether an answer holds what only the server can read."""
        return any(word in text for word in (self.words, "root:", "HISTOLAB_DEMO_AUTH", "Traceback", "site-packages"))

    def unharmed(self) -> bool:
        return self.secret.is_file() and self.secret.read_text() == self.words

    def refused(self, attack: str, answer: httpx.Response, status: int | None = None) -> Row:
        """status: by default any that puts the blame on the sender."""
        right = answer.status_code == status if status else 400 <= answer.status_code < 500
        text = answer.text
        try:
            text = json.loads(text)["detail"]
            said = isinstance(text, str)
        except (ValueError, KeyError, TypeError):
            said = answer.status_code == 404  # Gradio's or FastAPI's own
        answered = f"{answer.status_code} {str(text)[:70]}"
        return Row(short(attack), answered, right and said and not self.tells(answer.text))


def short(text: str) -> str:
    text = re.sub(r"/[^ ]*/(secret|link)\.png", r"/…/\1.png", text)
    return text if len(text) < 100 else text[:97] + "…"
