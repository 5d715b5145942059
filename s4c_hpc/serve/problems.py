"""Errors as people and programs read them (RFC 9457): what, where and what to do; no trace, no path of the machine."""

from __future__ import annotations

import re
import sys
import traceback
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteError

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, S4cError, TemporaryError

MEDIA_TYPE: Final = "application/problem+json"

_PATH: Final = re.compile(r"(?<![\w.:/])(?:/[^\s/:;,'\"()]+)+/?")
"""An absolute path inside of a sentence."""

_STATUS: Final[tuple[tuple[type[S4cError], int], ...]] = (
    (MissingDataError, 503),
    (NoInputsError, 404),
    (InputError, 400),
    (ConfigError, 400),
    (TemporaryError, 503),
)


class Problem(HTTPException):
    """A request that cannot be answered; ends as ``problem+json``. FastAPI hands its own kind on, whoever raises it."""

    def __init__(
        self,
        status: int,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Join what is said of it; ``headers`` go with the answer."""
        super().__init__(status, what, dict(headers or {}))
        self.what, self.where, self.hint = what, where, hint

    def response(self) -> JSONResponse:
        """The answer."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "detail": self.what,
        }
        body |= {key: text for key, text in (("where", self.where), ("hint", self.hint)) if text is not None}
        return JSONResponse(body, self.status_code, dict(self.headers or {}), MEDIA_TYPE)


def public(text: str | None) -> str | None:
    """A sentence without absolute paths: names of files stay, folders go."""
    return None if text is None else _PATH.sub(lambda found: found[0].rstrip("/").rpartition("/")[2], text)


def problem_of(error: S4cError) -> Problem:
    """An error of ours; one that is no fault of the request is told on standard error and not to the caller."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        return _bug(error)
    headers = {"Retry-After": "1"} if status == 503 else None
    return Problem(
        status, public(error.what) or "", where=public(error.where), hint=public(error.hint), headers=headers
    )


def _bug(error: Exception) -> Problem:
    number = uuid.uuid4().hex[:12]
    print(f"s4c serve: error {number}", file=sys.stderr)  # noqa: T201 - a service talks on standard error
    traceback.print_exception(error)
    return Problem(500, "this is a bug in s4c-hpc", where=f"error {number}", hint="tell the operator this number")


def install(app: FastAPI) -> None:
    """Answer every error in this form."""

    @app.exception_handler(Problem)
    async def _known(_request: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(S4cError)
    async def _ours(request: Request, error: S4cError) -> JSONResponse:
        if isinstance(error, MissingDataError) and (forget := getattr(request.state, "forget", None)):
            # A run has replaced a file between two looks at the workspace: the next look finds the new one.
            forget()
        return problem_of(error).response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not repeated: it may be an id.
        said = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10]]
        where = ", ".join(dict.fromkeys(str(one["loc"][0]) for one in error.errors()[:10]))
        return Problem(400, "; ".join(said), where=where, hint="see /v1/openapi.json").response()

    @app.exception_handler(StarletteError)
    async def _http(_request: Request, error: StarletteError) -> JSONResponse:
        hints = {404: "see /v1/openapi.json", 405: "this service is read-only"}
        what = HTTPStatus(error.status_code).phrase
        return Problem(error.status_code, what, hint=hints.get(error.status_code), headers=error.headers).response()

    @app.exception_handler(Exception)
    async def _any(_request: Request, error: Exception) -> JSONResponse:
        return _bug(error).response()
