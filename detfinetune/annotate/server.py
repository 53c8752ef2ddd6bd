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
  of which `id`, `class`, and `box` or `polygons` are needed. The page chooses ids, letters, digits
  and `-`, unique in the image, and keeps them through undo: that is how corrections are counted.
  `polygons` is empty for a box; with polygons and without a box, the box is theirs.
  `accepted` is false for proposals that nobody has looked at. Imported masks are in `mask`; send
  it back unchanged, or leave it out once the shape was changed.

**Saving.** `PUT` takes `{"state", "shapes", "split"?, "effort"?: {"seconds": 7.5, "inputs": 11}}`,
the effort being active seconds and clicks, drags and keys since the last save of this image, and
returns the new document with its ETag. Otherwise `{"error": "what is wrong and what to do"}`, with

- 404: no such image or class. 410 for pixels: the file is gone; labels can still be saved.
- 412: the revision is not the stored one; also `mine` and `stored`, the two versions
- 413: more than 32 MB
- 422: not as above: a box outside the image (by more than 0.01 px, which are cut), not finite, or
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

**Events.** Each is a line of the journal, `{"event", "time", "writer", ...}`: `save` with the
image's `id` and `revision`, `classes` with `revision`, `review`, `round`. `writer` is what the
window sent as the header `X-Writer`, so that it knows its own changes. After a break, browsers
continue where they stopped.
"""
