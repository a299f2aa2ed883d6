"""Files that a stranger may upload as an image, by accident or to break what reads them."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

from demos.shared.uploads import LARGEST_FILE

RED, WHITE = (200, 30, 60), (255, 255, 255)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def plain(size=(48, 40), colour=RED, mode="RGB"):
    return Image.new("RGB", size, colour).convert(mode)


def filled(value, dtype):
    return Image.fromarray(np.full((40, 40), value, dtype))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width, height):
    """A few bytes that claim to be a huge image."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def png_with(kind, data):
    """A small image with a chunk of another kind before its pixels."""
    content = encoded(plain(), "PNG")
    return content[:33] + chunk(kind, data) + content[33:]


def jpeg_claiming(width, height):
    content = bytearray(encoded(plain(), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    return encoded(plain((60, 40)), "JPEG", exif=exif)


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", encoded(plain(), "PNG"))
    return file.getvalue()


LARGE = plain((400, 400))

#: What it is -> its content, and what the visitor is told.
REFUSED = {
    "text": (b"not an image at all", "not an image"),
    "empty": (b"", "not an image"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "not an image"),
    "zip": (zipped(), "not an image"),
    "GIF": (encoded(plain(), "GIF"), "not an image"),
    "PDF": (b"%PDF-1.7\n", "not an image"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 40\n", "not an image"),
    "truncated PNG": (encoded(LARGE, "PNG")[:200], "damaged or incomplete"),
    "truncated JPEG": (encoded(LARGE, "JPEG")[:400], "damaged or incomplete|not an image"),
    "half a TIFF": (encoded(LARGE, "TIFF")[:5000], "damaged or incomplete|not an image"),
    "bomb by its header": (png_claiming(60_000, 60_000), "25 million"),
    "large, not yet a bomb": (png_claiming(5001, 5000), "5,001 × 5,000 pixels. At most 25 million"),
    "header alone": (png_claiming(4000, 4000), "damaged or incomplete"),
    "tiny": (encoded(plain((31, 100)), "PNG"), "31 × 100"),
    "float": (encoded(filled(1, np.float32), "TIFF"), "measurements"),
    "32 bit": (encoded(filled(10**6, np.int32), "TIFF"), "measurements"),
    "bomb in a text chunk": (png_with(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 10**8, 9)), "damaged or incomplete"),
    "JPEG of 65,500 pixels per side": (jpeg_claiming(65_500, 65_500), "25 million|damaged"),
    "truncated WebP": (encoded(LARGE, "WEBP")[:60], "damaged or incomplete|not an image"),
    "page that begins as a PNG": (b"\x89PNG\r\n\x1a\n<html><script>alert(1)</script>", "damaged|not an image"),
    "script": (b"#!/bin/sh\ncat /etc/passwd\n", "not an image"),
    "pickle": (pickle.dumps({"a": 1}), "not an image"),
    "too many bytes": (b"\0" * (LARGEST_FILE + 1), "20 MB"),
}

MODES = ("CMYK JPEG", "CMYK TIFF", "YCbCr JPEG", "P PNG", "RGBA PNG", "1 PNG", "L BMP")
ANIMATED = {"save_all": True, "append_images": [plain(colour=WHITE)]}

#: Unusual, but read.
READ = {
    **{f"{mode} {kind}": encoded(plain(mode=mode), kind) for mode, kind in map(str.split, MODES)},
    **{f"16-bit {kind}": encoded(filled(40_000, np.uint16), kind) for kind in ("PNG", "TIFF")},
    **{f"animated {kind}": encoded(plain(), kind, **ANIMATED) for kind in ("PNG", "TIFF", "WEBP")},
    "EXIF-rotated": turned(),
}

#: What a file may be called.
NAMES = [
    *("tissue.png", "../../../etc/passwd", "..\\..\\a.png", "/etc/passwd", "a/b/c.png", "~root.png", "%2e%2e%2fa.png"),
    *(".htaccess", "a\tb\n.png", "x" * 300 + ".png", "<img src=x onerror=alert(1)>.png", "\u202egnp.exe", "CON.png"),
    *(" ", "$(reboot).png"),
]
