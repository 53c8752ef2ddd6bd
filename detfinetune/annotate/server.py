"""The server behind the labelling page, and its API.

Bodies are JSON. Coordinates are pixels of the upright image file, x to the right and y down from
its top left corner, whatever the size of the picture that is served; boxes are `[x1, y1, x2, y2]`.
An image's `id` and a class's `id` never change; names are for people.

    GET  /                       the page; `?token=...` sets the cookie that all requests need
    GET  /page/FILE              its scripts and styles
    GET  /api/project            folder, class list, counts by state, whether there is a queue
    GET  /api/images             all images, in order, without their shapes
    GET  /api/images/ID          one image's document; ETag: its revision
    PUT  /api/images/ID          replaces it; If-Match: the revision that was edited
    GET  /api/images/ID/pixels   the upright picture; take the address from the image's `pixels`
    GET  /api/classes            the class list; ETag: its revision
    POST /api/classes            {"name"}: adds a class; an existing name returns that class
    PUT  /api/classes/ID         {"name"}: renames it; If-Match: the revision of the list
    GET  /api/queue              what is to be reviewed, with the verdicts so far
    PUT  /api/queue/ID           {"verdict": "label" | "prediction" | "edit"}
    GET  /api/figures            seconds, inputs and corrections by round
    GET  /api/events             changes by any window or process, as server-sent events
    GET  /api/jobs               trainings and proposals, those that run and those that ended
    POST /api/jobs               {"kind": "train" | "propose", ...}: starts one
    DELETE /api/jobs/current     stops the one that runs
    GET  /api/jobs/ID/log        what it said, `?from=BYTE` on

Scripts may send `Authorization: Bearer TOKEN` instead of the cookie. A request with the `Origin`
of another site, or a `Host` that is not this machine, is refused.

**Project.** `{"root", "store", "images": 48, "states": {"todo": 40, "done": 8, ...},
"classes": <class list>, "queue": 0}`; `queue` counts the items to review.

**Image.** `{"id", "name", "width", "height", "error", "state", "split", "revision", "shapes": 5,
"unreviewed": 2, "classes": {"0": 3, "2": 2}, "pixels"}`. `error` says why an image cannot be
shown, else null; its size is then 0. `unreviewed` counts proposals that are not accepted, `classes`
shapes by class id. `pixels` is an address that changes with the file, so that browsers may keep the
picture; to prefetch, load that of the next image.

**Document.** `{"id", "name", "width", "height", "state", "split", "revision", "shapes": [...],
"proposal": {"model", "round", "count"} | null}`. Revision 0: nothing was saved yet.

- `state`: `todo`, `proposed` (shapes of a model, not looked through), `done`, `unsure`. Only images
  in state done are trained on; done without shapes is a true negative.
- `split`: `train`, `val`, `test`, or null for the usual random splits. Images of `test` get no
  proposals.
- a shape is `{"id", "class": 2, "box": [x1, y1, x2, y2], "polygons": [[x, y, x, y, ...], ...],
  "origin": "human" | "model" | "copy", "score": 0.83 | null, "accepted": true, "crowd": false}`,
  of which `id`, `class` and `box` are needed. The page chooses ids, letters, digits
  and `-`, unique in the image, and keeps them through undo: that is how corrections are counted.
  `polygons` is empty for a box; with polygons, the box goes around them.
  `accepted` is false for proposals that nobody has looked at. Imported masks are in `mask`; send
  it back unchanged, or leave it out once the shape was changed.

**Saving.** `PUT` takes `{"state", "shapes", "split"?, "effort"?: {"seconds": 7.5, "inputs": 11}}`,
the effort being active seconds and clicks, drags and keys since the last save of this image, and
returns the new document with its ETag. Otherwise `{"error": "what is wrong and what to do"}`, with

- 404: no such image or class. 410 for pixels: the file is gone; labels can still be saved.
- 412: the revision is not the stored one; also `mine` and `stored`, the two versions
- 413: more than 32 MB
- 422: not as above: a box outside the image (up to half a pixel is cut), not finite, or
  without an area; an unknown class; an id twice; `done` with shapes that are not accepted
- 428: no `If-Match`. Revisions are quoted, as in `If-Match: "3"`.
- 507: the disk is full; 500 with an `error`: the store cannot be written. Keep the edit, try again.
- 403: the token is missing or wrong, or the request comes from another site.

**Classes.** `{"revision": 2, "classes": [{"id": 0, "name": "pawn"}, ...]}`. A class is renamed in
one place; no document changes, so a rename never conflicts with labelling in another window.

**Queue.** `{"items": [{"id", "image", "box" | null, "reason", "class" | null, "prediction":
{"box", "class", "score"} | null, "verdict" | null}, ...]}`; `image` is an image's id, classes are
names.

**Figures.** `{"rounds": [{"round": 0, "images", "objects", "seconds", "inputs", "accepted",
"edited", "deleted", "added", "ap"}, ...]}` of the images that became done in each round.

**Jobs.** `{"jobs": [{"id": 3, "kind": "train" | "propose", "state", "run", "images": 30 | null,
"started", "ended" | null, "progress": {"step": 40, "steps": 200 | null, "eta_seconds": 95 | null,
"text"}, "ap": [[20, 12.5], [40, 31.0]], "results": {"val": 41.2, "test": 39.5}, "resumable": false,
"error" | null}, ...]}`, the newest last, of which at most one is in `state` `running` or
`stopping`; the others are `finished`, `stopped` or `failed`. Times are seconds since 1970, steps of
proposals are images. `ap` is AP on val by step, `results` that of the best checkpoint once it is
evaluated, both 0-100; `error` says why it failed.

To start one, `POST` takes `{"kind": "train", "minutes"?: 10, "images"?: 30}`, a time budget, and
how many images get proposals once it has finished; `{"kind": "train", "resume": 3}`, which goes on
with a training that was stopped or has failed; or `{"kind": "propose", "images": 30}`, by the last
training that has finished. The answer to this and to `DELETE` is the list, or an `error` with 409,
where another job runs or there is nothing to resume, propose or stop. A log is `{"text", "next"}`,
`next` being the byte to go on from.

**Events.** Each is a line of the journal, `{"event", "time", "writer", ...}`: `save` with the
image's `id` and `revision`, `classes` with `revision`, `review`, `round`; or, apart from the
journal, `{"event": "job", "job"}` of a job that has changed. `writer` is what the window sent as
the header `X-Writer`, so that it knows its own changes. Connect before loading the list of images
and of jobs, so that nothing happens in between. After a break, browsers go on where they were.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from detfinetune.annotate.exchange import (
    ON_ERROR,
    json_answer,
    read_body,
    revision_of,
    writer_of,
)
from detfinetune.annotate.figures import round_figures
from detfinetune.annotate.guard import Guard
from detfinetune.annotate.job_routes import job_routes
from detfinetune.annotate.jobs import Jobs
from detfinetune.annotate.journal import journal_size, read_events
from detfinetune.annotate.pixels import Pictures
from detfinetune.annotate.review_queue import ReviewItem, Verdict, verdicts
from detfinetune.annotate.store import Conflict, LabelImage, LabelStore, Summary
from detfinetune.console import escape_name
from detfinetune.image_files import IMAGE_ERRORS, describe_image_error
from detfinetune.labels.formats.json.label_store import ClassList, ImageDocument, Shape, State

_PAGE = Path(__file__).parent / "page"
_POLL_SECONDS = 0.25
_PING_SECONDS = 15.0
_KEEP = "private, max-age=86400, immutable"


class _Effort(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    inputs: Annotated[int, Field(ge=0)] = 0


class _Edit(BaseModel):
    """The body of a PUT of an image."""

    model_config = ConfigDict(extra="forbid")

    state: State
    shapes: tuple[Shape, ...]
    split: Literal["train", "val", "test"] | None = None
    effort: _Effort = _Effort()


class _ClassName(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str


class _Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    verdict: Verdict


def build_app(
    store: LabelStore,
    token: str,
    *,
    cookie: str = "detfinetune",
    queue: Mapping[str, ReviewItem] | None = None,
    jobs: Jobs | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Return the application.

    Args:
        store: the labels.
        token: what each request must have.
        cookie: name of the cookie that keeps it.
        queue: what is to be reviewed, by id.
        jobs: trainings and proposals of the store.
        stopping: whether the server stops, so that open streams must end.
    """
    jobs = jobs or Jobs(store)
    api = _Api(store, queue or {}, jobs, stopping)
    return Starlette(
        routes=[
            Route("/", _page),
            Mount("/page", StaticFiles(directory=_PAGE)),
            Route("/api/project", api.project),
            Route("/api/images", api.images),
            Route("/api/images/{id}", api.image, methods=["GET"]),
            Route("/api/images/{id}", api.save, methods=["PUT"]),
            Route("/api/images/{id}/pixels", api.pixels),
            Route("/api/classes", api.classes, methods=["GET"]),
            Route("/api/classes", api.add_class, methods=["POST"]),
            Route("/api/classes/{id:int}", api.rename_class, methods=["PUT"]),
            Route("/api/queue", api.queue, methods=["GET"]),
            Route("/api/queue/{id}", api.review, methods=["PUT"]),
            Route("/api/figures", api.figures),
            Route("/api/events", api.events),
            *job_routes(jobs),
        ],
        middleware=[Middleware(Guard, token=token, cookie=cookie)],
        exception_handlers=ON_ERROR,
    )


def _page(request: Request) -> Response:
    return FileResponse(_PAGE / "index.html")


class _Api:
    """The endpoints; those that are not `async` run in threads."""

    def __init__(
        self,
        store: LabelStore,
        queue: Mapping[str, ReviewItem],
        jobs: Jobs,
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._queue = queue
        self._jobs = jobs
        self._stopping = stopping
        self._pictures = Pictures([image.path for image in store.images.values()])
        self._ids = {image.name: image.id for image in store.images.values()}

    def project(self, request: Request) -> Response:
        states = Counter(summary.state for _, summary in self._store.summaries())
        return json_answer(
            {
                "root": escape_name(str(self._store.root)),
                "store": escape_name(str(self._store.folder)),
                "images": len(self._store.images),
                "states": states,
                "classes": _class_list(self._store.classes()),
                "queue": len(self._queue),
            }
        )

    # --- images -----------------------------------------------------------------------------------

    def images(self, request: Request) -> Response:
        return json_answer({"images": [_entry(*found) for found in self._store.summaries()]})

    def image(self, request: Request) -> Response:
        image = self._image(request)
        document = self._store.document(image)
        return json_answer(_document(image, document), revision=document.revision)

    async def save(self, request: Request) -> Response:
        image = self._image(request)
        revision = revision_of(request)
        edit = await read_body(request, _Edit)
        writer = writer_of(request)
        return await run_in_threadpool(self._save, image, revision, edit, writer)

    def _save(self, image: LabelImage, revision: int, edit: _Edit, writer: str) -> Response:
        split = edit.split
        if "split" not in edit.model_fields_set:
            split = self._store.document(image).split
        edited = ImageDocument(
            width=image.width, height=image.height, state=edit.state, split=split,
            revision=revision, shapes=edit.shapes,
        )  # fmt: skip
        try:
            saved = self._store.save(
                image, edited, writer=writer,
                seconds=edit.effort.seconds, inputs=edit.effort.inputs,
            )  # fmt: skip
        except Conflict:
            mine, stored = _document(image, edited), _document(image, self._store.document(image))
            return _conflict("The image was changed elsewhere.", mine, stored)
        return json_answer(_document(image, saved), revision=saved.revision)

    def pixels(self, request: Request) -> Response:
        image = self._image(request)
        stamp = _stamp(image.path)
        etag = f'"{stamp}"'
        fresh = request.query_params.get("v") == stamp
        headers = {"ETag": etag, "Cache-Control": _KEEP if fresh else "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        try:
            data, media_type = self._pictures.picture(image.path)
        except FileNotFoundError:
            raise HTTPException(410, f"{image.name}: the file is gone. Restore it.") from None
        except IMAGE_ERRORS as error:
            raise HTTPException(422, f"{image.name}: {describe_image_error(error)}.") from None
        return Response(data, media_type=media_type, headers=headers)

    def _image(self, request: Request) -> LabelImage:
        image = self._store.images.get(request.path_params["id"])
        if image is None:
            raise HTTPException(404, "There is no such image. Load the list of images again.")
        return image

    # --- classes ----------------------------------------------------------------------------------

    def classes(self, request: Request) -> Response:
        found = self._store.classes()
        return json_answer(_class_list(found), revision=found.revision)

    async def add_class(self, request: Request) -> Response:
        body = await read_body(request, _ClassName)
        number, classes = await run_in_threadpool(
            self._store.add_class, body.name, writer=writer_of(request)
        )
        return json_answer({"id": number, **_class_list(classes)}, revision=classes.revision)

    async def rename_class(self, request: Request) -> Response:
        revision = revision_of(request)
        body = await read_body(request, _ClassName)
        number = request.path_params["id"]
        if number >= len(self._store.classes().classes):
            raise HTTPException(404, f"There is no class {number}.")
        try:
            renamed = await run_in_threadpool(
                self._store.rename_class, number, body.name, revision, writer=writer_of(request)
            )
        except Conflict:
            mine = {"id": number, "name": body.name, "revision": revision}
            stored = _class_list(self._store.classes())
            return _conflict("The class list was changed elsewhere.", mine, stored)
        return json_answer(_class_list(renamed), revision=renamed.revision)

    # --- the rest ---------------------------------------------------------------------------------

    def queue(self, request: Request) -> Response:
        given = verdicts(self._store.events())
        items = [
            {
                **item.model_dump(by_alias=True),
                "id": number,
                "image": self._ids[item.image],
                "verdict": given.get(number),
            }
            for number, item in self._queue.items()
        ]
        return json_answer({"items": items})

    async def review(self, request: Request) -> Response:
        number = request.path_params["id"]
        if number not in self._queue:
            raise HTTPException(404, "There is no such place in the queue.")
        verdict = (await read_body(request, _Verdict)).verdict
        values = {"item": number, "verdict": verdict, "writer": writer_of(request)}
        await run_in_threadpool(self._store.log, "review", **values)
        return json_answer({"id": number, "verdict": verdict})

    def figures(self, request: Request) -> Response:
        return json_answer(
            {"rounds": [asdict(each) for each in round_figures(self._store.events())]}
        )

    async def events(self, request: Request) -> Response:
        last = request.headers.get("last-event-id", "")
        start = int(last) if last.isdigit() else journal_size(self._store.journal)
        return StreamingResponse(self._changes(start), media_type="text/event-stream")

    async def _changes(self, position: int) -> AsyncIterator[str]:
        yield ": connected\n\n"
        journal, jobs, quiet = self._store.journal, self._jobs.shown, 0.0
        while not self._stopping():
            if (shown := self._jobs.shown) is not jobs:
                # These have no id: they are no lines of the journal.
                for job in (job for job in shown if job not in jobs):
                    yield f"data: {json.dumps({'event': 'job', 'job': job})}\n\n"
                jobs = shown
            if journal_size(journal) > position:
                events, position = read_events(journal, position)
                # Who loses the connection in between gets them all again.
                yield "".join(f"data: {json.dumps(event)}\n\n" for event in events[:-1])
                for event in events[-1:]:
                    yield f"id: {position}\ndata: {json.dumps(event)}\n\n"
                quiet = 0.0
            elif quiet > _PING_SECONDS:
                yield ": still here\n\n"
                quiet = 0.0
            await asyncio.sleep(_POLL_SECONDS)
            quiet += _POLL_SECONDS


# --- what is sent ---------------------------------------------------------------------------------


def _entry(image: LabelImage, summary: Summary) -> dict[str, Any]:
    stamp = _stamp(image.path)
    return {
        "id": image.id,
        "name": escape_name(image.name),
        "width": image.width,
        "height": image.height,
        "error": image.error or (None if stamp else "the file is gone"),
        "state": summary.state,
        "split": summary.split,
        "revision": summary.revision,
        "shapes": summary.shapes,
        "unreviewed": summary.unreviewed,
        "classes": summary.classes,
        "pixels": f"/api/images/{image.id}/pixels?v={stamp}",
    }


def _document(image: LabelImage, document: ImageDocument) -> dict[str, Any]:
    proposal = document.proposal
    return {
        "id": image.id,
        "name": escape_name(image.name),
        "width": image.width,
        "height": image.height,
        "state": document.state,
        "split": document.split,
        "revision": document.revision,
        "shapes": [_shape(shape) for shape in document.shapes],
        "proposal": None
        if proposal is None
        else {"model": proposal.model, "round": proposal.round, "count": len(proposal.shapes)},
    }


def _shape(shape: Shape) -> dict[str, Any]:
    values = shape.model_dump(by_alias=True)
    if shape.mask is None:
        del values["mask"]
    return values


def _class_list(found: ClassList) -> dict[str, Any]:
    named = [{"id": number, "name": name} for number, name in enumerate(found.classes)]
    return {"revision": found.revision, "classes": named}


def _stamp(path: Path) -> str:
    """Return what changes with a file; empty where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 (Path.stat takes twice as long)
    except OSError:
        return ""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def _conflict(reason: str, mine: object, stored: object) -> Response:
    error = f"{reason} Choose one of the two versions, or join them, and save again."
    return json_answer({"error": error, "mine": mine, "stored": stored}, 412)
