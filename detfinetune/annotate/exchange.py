"""Bodies of requests and answers, and the answers to what goes wrong."""

from __future__ import annotations

from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from detfinetune.annotate.jobs import NotPossible
from detfinetune.annotate.store import InvalidEdit
from detfinetune.console import NO_ROOM, escape_name
from detfinetune.errors import DetFinetuneError

_LARGEST_BODY = 32 << 20

B = TypeVar("B", bound=BaseModel)


def json_answer(content: object, status: int = 200, revision: int | None = None) -> Response:
    """Return an answer in JSON; its ETag is the revision."""
    headers = {} if revision is None else {"ETag": f'"{revision}"'}
    data = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return Response(data, status, headers, media_type="application/json")


async def read_body(request: Request, schema: type[B]) -> B:
    """Return the body of a request.

    Raises:
        HTTPException: it is too large, or not as it should be.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _LARGEST_BODY:
            raise HTTPException(413, f"A request may have {_LARGEST_BODY >> 20} MB.")
    try:
        return schema.model_validate_json(bytes(data))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise HTTPException(422, f"{where or 'body'}: {problem['msg']}") from None


def revision_of(request: Request) -> int:
    """Return the revision of `If-Match`.

    Raises:
        HTTPException: there is none.
    """
    given = request.headers.get("if-match", "").strip('"')
    if not given.isdecimal():
        raise HTTPException(428, 'Give the revision that was edited, as in If-Match: "3".')
    return int(given)


def writer_of(request: Request) -> str:
    """Return the name of the window that sent a request."""
    return request.headers.get("x-writer", "")[:100]


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return json_answer({"error": escape_name(error.detail)}, error.status_code)


def _on_invalid_edit(request: Request, error: Exception) -> Response:
    return json_answer({"error": escape_name(str(error))}, 422)


def _on_own_error(request: Request, error: Exception) -> Response:
    return json_answer({"error": escape_name(str(error))}, 500)


def _on_os_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno in NO_ROOM:
        return json_answer(
            {"error": "The disk is full. Free some space; the page saves again."}, 507
        )
    reason = error.strerror or str(error)
    return json_answer({"error": f"The labels cannot be written ({escape_name(reason)})."}, 500)


def _on_not_possible(request: Request, error: Exception) -> Response:
    return json_answer({"error": escape_name(str(error))}, 409)


ON_ERROR = {
    HTTPException: _on_http_error,
    InvalidEdit: _on_invalid_edit,
    NotPossible: _on_not_possible,
    DetFinetuneError: _on_own_error,
    OSError: _on_os_error,
}
