"""The part of the API that trains and proposes; the docstring of `server.py` describes it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detfinetune.annotate.exchange import json_answer, read_body
from detfinetune.annotate.jobs import Jobs, Kind, NotPossible


class _Start(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Kind
    images: Annotated[int, Field(gt=0)] | None = None
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    resume: int | None = None


def job_routes(jobs: Jobs) -> list[Route]:
    """Return the routes of a store's jobs."""
    api = _JobApi(jobs)
    return [
        Route("/api/jobs", api.shown, methods=["GET"]),
        Route("/api/jobs", api.start, methods=["POST"]),
        Route("/api/jobs/current", api.stop, methods=["DELETE"]),
        Route("/api/jobs/{id:int}/log", api.log),
    ]


class _JobApi:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def shown(self, request: Request) -> Response:
        self._jobs.refresh()
        return json_answer({"jobs": self._jobs.shown})

    async def start(self, request: Request) -> Response:
        wanted = await read_body(request, _Start)
        await run_in_threadpool(self._start, wanted)
        return json_answer({"jobs": self._jobs.shown})

    def _start(self, wanted: _Start) -> None:
        if wanted.resume is not None:
            self._jobs.resume(wanted.resume)
        elif wanted.kind == "train":
            self._jobs.train(wanted.images, wanted.minutes)
        elif wanted.images is None:
            raise HTTPException(422, "images: Say how many images get proposals.")
        else:
            self._jobs.propose(wanted.images)

    def stop(self, request: Request) -> Response:
        if self._jobs.stop() is None:
            raise NotPossible("Nothing runs.")
        return self.shown(request)

    def log(self, request: Request) -> Response:
        start = request.query_params.get("from", "0")
        found = self._jobs.log(request.path_params["id"], int(start) if start.isdecimal() else 0)
        if found is None:
            raise HTTPException(404, "There is no such job.")
        return json_answer({"text": found[0], "next": found[1]})
