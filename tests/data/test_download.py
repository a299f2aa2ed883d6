"""Downloads resume and refuse the wrong file; archives stay inside their folder; hashes are remembered."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from histolab_lite.data import download as download_module
from histolab_lite.data.download import DownloadError, HashCache, download, sha256
from histolab_lite.data.manifests import Archive, DataFile, Manifest
from histolab_lite.files import ArchiveError, extract

PAYLOAD = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


@pytest.fixture(autouse=True)
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the real user cache."""
    monkeypatch.setattr(download_module.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "histolab-lite"


# --- downloads from a server on localhost


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `files`; drops the first `drops` transfers half way; knows Range where `ranges` is True."""

    def __init__(self, server: Server, *args: object) -> None:
        self.state = server
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        body = self.state.files.get(self.path)
        wanted = self.headers.get("Range")
        self.state.asked.append(wanted)
        if body is None:
            self.send_error(404)
            return
        start = 0
        if wanted and self.state.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.state.drops > 0:
            self.state.drops -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)
        self.state.sent += len(rest)

    def log_message(self, format: str, *args: object) -> None:
        pass  # the test's output is not the server's log


class Server:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/data.bin": PAYLOAD}
        self.asked: list[str | None] = []
        self.sent, self.drops, self.ranges = 0, 0, True
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, self))
        self.url = f"http://127.0.0.1:{self.httpd.server_address[1]}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download_module, "_CHUNK", 1 << 14)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.httpd.shutdown()
    server.httpd.server_close()


def test_whole_download(server: Server, tmp_path: Path) -> None:
    path = download(f"{server.url}/data.bin", tmp_path / "deep/data.bin", DIGEST)
    assert path.read_bytes() == PAYLOAD
    assert list((tmp_path / "deep").iterdir()) == [path]
    assert server.asked == [None]


def test_dropped_connection_resumes_in_the_same_call(server: Server, tmp_path: Path) -> None:
    server.drops = 2
    path = download(f"{server.url}/data.bin", tmp_path / "data.bin", DIGEST)
    assert path.read_bytes() == PAYLOAD
    assert server.asked[0] is None
    assert all(wanted is not None for wanted in server.asked[1:])
    assert server.sent - len(PAYLOAD) < 2 * download_module._CHUNK  # little was sent twice


def test_interrupted_download_resumes_in_a_later_call(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "data.bin"
    server.drops = 1
    with pytest.raises(DownloadError, match="go on where it stopped"):
        download(f"{server.url}/data.bin", target, DIGEST, attempts=1)
    assert not target.exists()
    (partial,) = tmp_path.glob("*.part")
    assert PAYLOAD.startswith(partial.read_bytes())
    assert 0 < partial.stat().st_size < len(PAYLOAD)
    before = server.sent

    download(f"{server.url}/data.bin", target, DIGEST, attempts=1)
    assert target.read_bytes() == PAYLOAD
    assert server.asked[1] is not None
    assert server.sent - before < len(PAYLOAD)
    assert not list(tmp_path.glob("*.part"))


def test_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.drops = False, 1
    path = download(f"{server.url}/data.bin", tmp_path / "data.bin", DIGEST)
    assert path.read_bytes() == PAYLOAD
    assert len(server.asked) == 2


@pytest.mark.parametrize("extra", [b"", b"older and longer"], ids=["whole", "too long"])
def test_part_at_or_past_the_end(server: Server, tmp_path: Path, extra: bytes) -> None:
    (tmp_path / f"data.bin.{DIGEST[:8]}.part").write_bytes(PAYLOAD + extra)
    path = download(f"{server.url}/data.bin", tmp_path / "data.bin", DIGEST)
    assert path.read_bytes() == PAYLOAD
    assert server.sent == (len(PAYLOAD) if extra else 0)


def test_wrong_hash_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="not the file expected, and was removed"):
        download(f"{server.url}/data.bin", tmp_path / "data.bin", "0" * 64)
    assert not list(tmp_path.iterdir())


def test_refusal_of_the_server(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        download(f"{server.url}/missing.bin", tmp_path / "data.bin", DIGEST)
    assert server.asked == [None]  # asked once: trying again would not help
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="HISTOLAB_DATA"):
        download(f"{server.url}/data.bin", tmp_path / "file" / "data.bin", DIGEST)


# --- archives


def make_zip(path: Path, names: list[str], link: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777 if link else stat.S_IFREG | 0o644) << 16
            packed.writestr(info, f"content of {name}")
    return path


def make_tar(path: Path, kind: bytes = tarfile.REGTYPE, name: str = "a/b.txt") -> Path:
    with tarfile.open(path, "w:gz") as bundle:
        bundle.addfile(tarfile.TarInfo("first.txt"), io.BytesIO())
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        data = b"content" if kind == tarfile.REGTYPE else b""
        info.size = len(data)
        bundle.addfile(info, io.BytesIO(data))
    return path


def test_extract(tmp_path: Path) -> None:
    files = extract(make_zip(tmp_path / "a.zip", ["x/1.txt", "2.txt"]), tmp_path / "zip")
    assert [file.relative_to(tmp_path / "zip").as_posix() for file in files] == ["x/1.txt", "2.txt"]
    assert files[0].read_text() == "content of x/1.txt"
    extract(make_tar(tmp_path / "a.tgz"), tmp_path / "tar")
    assert sorted(p.relative_to(tmp_path / "tar").as_posix() for p in (tmp_path / "tar").rglob("*.txt")) == [
        "a/b.txt",
        "first.txt",
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: make_zip(folder / "a.zip", ["fine.txt", "../evil.txt"]),
        lambda folder: make_zip(folder / "a.zip", ["fine.txt", "/evil.txt"]),
        lambda folder: make_zip(folder / "a.zip", ["fine.txt", "x/../../evil.txt"]),
        lambda folder: make_zip(folder / "a.zip", ["fine.txt", "C:evil.txt"]),
        lambda folder: make_zip(folder / "a.zip", ["link"], link=True),
        lambda folder: make_tar(folder / "a.tar.gz", name="../evil.txt"),
        lambda folder: make_tar(folder / "a.tar.gz", tarfile.SYMTYPE),
        lambda folder: make_tar(folder / "a.tar.gz", tarfile.LNKTYPE),
        lambda folder: make_tar(folder / "a.tar.gz", tarfile.FIFOTYPE),
    ],
    ids=[
        "zip-slip",
        "absolute",
        "hidden",
        "drive",
        "zip-link",
        "tar-slip",
        "tar-symlink",
        "tar-hardlink",
        "fifo",
    ],
)
def test_unsafe_archives_write_nothing(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    archive = make(tmp_path)
    with pytest.raises(ArchiveError, match="is refused"):
        extract(archive, tmp_path / "into")
    assert not list((tmp_path / "into").iterdir())
    assert not list(tmp_path.rglob("evil*"))


def test_damaged_archives(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("not an archive")
    with pytest.raises(ArchiveError, match="neither a zip nor a tar"):
        extract(tmp_path / "a.zip", tmp_path / "into")
    whole = bytearray(make_zip(tmp_path / "b.zip", ["1.txt"]).read_bytes())
    whole[whole.index(b"content")] ^= 1  # the checksum inside no longer fits
    (tmp_path / "b.zip").write_bytes(whole)
    with pytest.raises(ArchiveError, match="is damaged"):
        extract(tmp_path / "b.zip", tmp_path / "into")
    assert not list((tmp_path / "into").iterdir())


# --- as a manifest asks for them


def make_manifest(*files: DataFile, archives: tuple[Archive, ...] = ()) -> Manifest:
    return Manifest(
        name="toy",
        title="Toy set",
        version="1",
        homepage="https://example.org/toy",
        licence="CC0",
        redistribution=True,
        citation="Nobody",
        access="download",
        split_rule="none",
        files=files,
        archives=archives,
    )


def test_fetch_downloads_what_is_missing(server: Server, tmp_path: Path) -> None:
    manifest = make_manifest(DataFile("toy/data.bin", DIGEST, f"{server.url}/data.bin"))
    root = tmp_path / "root"
    assert not manifest.is_available(root)
    with pytest.raises(FileNotFoundError, match=r"1 of 1 entries are missing under .*toy/data\.bin"):
        manifest.fetch(root, download=False)
    assert not root.exists()
    assert server.asked == []
    assert manifest.fetch(root) == root
    assert manifest.path(root).read_bytes() == PAYLOAD
    manifest.fetch(root)
    assert len(server.asked) == 1
    assert manifest.is_available(root)


def test_fetch_unpacks_archives(server: Server, tmp_path: Path) -> None:
    packed = make_zip(tmp_path / "set.zip", ["images/1.txt"])
    server.files["/set.zip"] = packed.read_bytes()
    content = hashlib.sha256(b"content of images/1.txt").hexdigest()
    archive = Archive(f"{server.url}/set.zip", sha256(packed), "toy")
    manifest = make_manifest(DataFile("toy/images/1.txt", content), archives=(archive,))
    root = tmp_path / "root"
    manifest.fetch(root)
    assert [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()] == [
        "toy/images/1.txt"
    ]


def test_fetch_refuses_an_unsafe_archive(server: Server, tmp_path: Path) -> None:
    packed = make_zip(tmp_path / "set.zip", ["../../evil.txt"])
    server.files["/set.zip"] = packed.read_bytes()
    archive = Archive(f"{server.url}/set.zip", sha256(packed), "toy")
    manifest = make_manifest(DataFile("toy/1.txt", DIGEST), archives=(archive,))
    with pytest.raises(ArchiveError, match="outside its folder"):
        manifest.fetch(tmp_path / "root")
    assert not [path for path in (tmp_path / "root").rglob("*") if path.is_file()]
    assert not list(tmp_path.rglob("evil*"))


def test_hashes_are_remembered(tmp_path: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(PAYLOAD)
    first = HashCache()
    assert first.sha256(path) == DIGEST
    first.save()
    assert [file.name for file in user_cache.iterdir()] == ["verified.json"]
    monkeypatch.setattr(download_module, "sha256", lambda path: "hashed again")
    assert HashCache().sha256(path) == DIGEST
    path.write_bytes(PAYLOAD + b"!")
    assert HashCache().sha256(path) == "hashed again"
    (user_cache / "verified.json").write_text("{broken")
    assert HashCache().sha256(path) == "hashed again"
