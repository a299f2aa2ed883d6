"""Headers that tell a browser what a page may do: run no program of another server, and ask no other server.

https://owasp.org/www-project-secure-headers
"""

from __future__ import annotations

MATHJAX = "https://cdnjs.cloudflare.com"  # draws the lessons' formulas


def policy(frames: str, programs: str = "") -> str:
    """A Content-Security-Policy. Gradio's pages contain programs and make some from text, which needs the two "unsafe"
    words. frames: sites that may show the page in a frame. programs: another server whose programs may run."""
    own = f"'self' {programs}".strip()
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src {own} 'unsafe-inline' 'unsafe-eval'",
            f"style-src {own} 'unsafe-inline'",
            f"font-src {own} data:",
            "img-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            f"frame-ancestors 'self' {frames}".strip(),
        )
    )


def headers(path: str, frames: str) -> list[tuple[bytes, bytes]]:
    """The headers of every answer. path: the path of the request."""
    said = {
        "content-security-policy": policy(frames, MATHJAX if path.startswith("/lessons/") else ""),
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
    }
    return [(name.encode(), value.encode()) for name, value in said.items()]
