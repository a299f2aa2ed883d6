"""The answer to a request that is refused."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


class Refusal(Exception):
    """status: of HTTP. sentence: for the sender of the request; it tells nothing about the server."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers

    def answer(self) -> JSONResponse:
        """The sentence as HTTP."""
        return JSONResponse({"detail": self.sentence}, self.status, self.headers)
