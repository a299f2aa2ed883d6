"""Downloads resume and refuse the wrong file; archives stay inside their folder; hashes are remembered."""

from __future__ import annotations

import hashlib
import http.server
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from histolab_lite.data import download as download_module
from histolab_lite.data.download import ArchiveError, DownloadError, HashCache, download, extract, sha256
from histolab_lite.data.manifests import Archive, DataFile
from tests.data.support import DIGEST, PAYLOAD, toy_manifest

# --- downloads from a server on localhost


@dataclass
class Server:
    """Serves `files`; drops the first `drops` transfers half way; knows Range where `ranges` is True."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {"/data.bin": PAYLOAD})
    asked: list[str | None] = field(default_factory=list)
    sent: int = 0
    drops: int = 0
    ranges: bool = True

    def answer(self, path: str, wanted: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self.asked.append(wanted)
        body = self.files.get(path)
        if body is None:
            return 404, {}, b""
        if not (wanted and self.ranges):
            return 200, {}, body
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
        return 206, {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}, body[start:]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download_module, "_CHUNK", 1 << 14)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = server.answer(self.path, self.headers.get("Range"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if server.drops > 0:
                server.drops -= 1
                body = body[: len(body) // 2]
            server.sent += len(body)
            self.wfile.write(body)

        def log_message(self, format: str, *args: object):
            pass  # the test's output is not the server's log

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        httpd.shutdown()


def test_a_broken_download_resumes_in_the_same_call_and_in_a_later_one(server, tmp_path):
    target, server.drops = tmp_path / "data.bin", 3
    with pytest.raises(DownloadError, match="Run it again"):
        download(f"{server.url}/data.bin", target, DIGEST, attempts=2)
    assert not target.exists()
    (partial,) = tmp_path.glob("*.part")
    assert PAYLOAD.startswith(partial.read_bytes())

    download(f"{server.url}/data.bin", target, DIGEST, attempts=2)
    assert target.read_bytes() == PAYLOAD
    assert list(tmp_path.iterdir()) == [target]
    assert [wanted is None for wanted in server.asked] == [True, False, False, False]
    assert server.sent - len(PAYLOAD) < 3 * download_module._CHUNK  # little was sent twice


def test_server_without_ranges_starts_again(server, tmp_path):
    server.ranges, server.drops = False, 1
    path = download(f"{server.url}/data.bin", tmp_path / "data.bin", DIGEST)
    assert path.read_bytes() == PAYLOAD
    assert len(server.asked) == 2


@pytest.mark.parametrize("extra", [b"", b"older and longer"], ids=["whole", "too long"])
def test_part_at_or_past_the_end(server, tmp_path, extra):
    (tmp_path / f"data.bin.{DIGEST[:8]}.part").write_bytes(PAYLOAD + extra)
    path = download(f"{server.url}/data.bin", tmp_path / "data.bin", DIGEST)
    assert path.read_bytes() == PAYLOAD
    assert server.sent == (len(PAYLOAD) if extra else 0)


@pytest.mark.parametrize(
    ("file", "target", "digest", "message"),
    [
        ("data.bin", "data.bin", "0" * 64, "not the file expected, and was removed"),
        ("missing.bin", "data.bin", DIGEST, "404"),
        ("data.bin", "a-file/data.bin", DIGEST, "HISTOLAB_DATA"),
    ],
)
def test_failed_downloads_leave_nothing(server, tmp_path, file, target, digest, message):
    (tmp_path / "a-file").touch()
    with pytest.raises(DownloadError, match=message):
        download(f"{server.url}/{file}", tmp_path / target, digest)
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]
    assert len(server.asked) <= 1  # trying again would not help


# --- archives


def make_zip(path: Path, *names: str, link: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777 if link else stat.S_IFREG | 0o644) << 16
            packed.writestr(info, f"content of {name}")
    return path


def make_tar(path: Path, name: str = "a/b.txt", kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as bundle:
        bundle.addfile(tarfile.TarInfo("first.txt"), io.BytesIO())
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        data = b"content" if kind == tarfile.REGTYPE else b""
        info.size = len(data)
        bundle.addfile(info, io.BytesIO(data))
    return path


def files_under(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_extract(tmp_path):
    files = extract(make_zip(tmp_path / "a.zip", "x/1.txt", "2.txt"), tmp_path / "zip")
    assert files == [tmp_path / "zip/x/1.txt", tmp_path / "zip/2.txt"]
    assert files[0].read_text() == "content of x/1.txt"
    assert files_under(tmp_path / "zip") == {"x/1.txt", "2.txt"}
    extract(make_tar(tmp_path / "a.tgz"), tmp_path / "tar")
    assert files_under(tmp_path / "tar") == {"a/b.txt", "first.txt"}


@pytest.mark.parametrize(
    ("make", "names", "options"),
    [
        *[
            (make_zip, ("fine.txt", name), {})
            for name in ("../evil.txt", "/evil.txt", "x/../../evil.txt", "C:evil.txt")
        ],
        (make_zip, ("fine.txt", "..\\evil.txt"), {}),
        (make_zip, ("link",), {"link": True}),
        (make_tar, ("../evil.txt",), {}),
        *[(make_tar, ("evil",), {"kind": kind}) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)],
    ],
)
def test_unsafe_archives_write_nothing(tmp_path, make, names, options):
    archive = make(tmp_path / "archive", *names, **options)
    with pytest.raises(ArchiveError, match="is refused"):
        extract(archive, tmp_path / "into")
    assert not list((tmp_path / "into").iterdir())
    assert not list(tmp_path.rglob("evil*"))


def test_archives_that_are_damaged_or_too_large(tmp_path, monkeypatch):
    (tmp_path / "text.zip").write_text("not an archive")
    whole = bytearray(make_zip(tmp_path / "flipped.zip", "1.txt").read_bytes())
    whole[whole.index(b"content")] ^= 1  # the checksum inside no longer fits
    (tmp_path / "flipped.zip").write_bytes(whole)
    for name, message in (("text.zip", "neither a zip nor a tar"), ("flipped.zip", "is damaged")):
        with pytest.raises(ArchiveError, match=message):
            extract(tmp_path / name, tmp_path / "into")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 5}))
    with pytest.raises(ArchiveError, match="GiB"):
        extract(make_zip(tmp_path / "large.zip", "1.txt"), tmp_path / "into")
    assert not list((tmp_path / "into").iterdir())


# --- as a manifest asks for them


def test_fetch_downloads_what_is_missing(server, tmp_path):
    manifest = toy_manifest(files=(DataFile("toy/data.bin", DIGEST, f"{server.url}/data.bin"),))
    root = tmp_path / "root"
    assert not manifest.is_available(root)
    with pytest.raises(FileNotFoundError, match=r"1 of 1 entries are missing under .*toy/data\.bin"):
        manifest.fetch(root, download=False)
    assert not root.exists()
    assert server.asked == []
    assert manifest.fetch(root) == root
    assert manifest.path(root).read_bytes() == PAYLOAD
    assert files_under(root) == {"toy/data.bin"}
    manifest.fetch(root)
    assert server.asked == [None]
    assert manifest.is_available(root)


def test_fetch_unpacks_archives(server, tmp_path):
    packed = make_zip(tmp_path / "set.zip", "images/1.txt")
    server.files["/set.zip"] = packed.read_bytes()
    content = DataFile("toy/images/1.txt", hashlib.sha256(b"content of images/1.txt").hexdigest())
    archive = Archive(f"{server.url}/set.zip", sha256(packed), "toy")
    toy_manifest(files=(content,), archives=(archive,)).fetch(tmp_path / "root")
    assert files_under(tmp_path / "root") == {"toy/images/1.txt"}


def test_hashes_are_remembered(tmp_path, user_cache, monkeypatch):
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
