"""A request that is not served, and what its sender is told."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


class Refusal(Exception):
    """status: of HTTP. sentence: for whoever sent the request; it names nothing of the server."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers

    def answer(self) -> JSONResponse:
        return JSONResponse({"detail": self.sentence}, self.status, self.headers)
