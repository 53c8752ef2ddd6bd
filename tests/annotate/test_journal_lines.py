"""The journal survives being cut off in the middle of a line."""

from __future__ import annotations

import json
from pathlib import Path

from detfinetune.annotate.journal import append_event, read_events


def test_events_come_back_in_order_with_their_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_event(path, "save", image="ä\udce4.jpg")
    append_event(path, "classes", revision=1)
    events, end = read_events(path)
    assert [(e["event"], e.get("image"), e.get("revision")) for e in events] == [
        ("save", "ä\udce4.jpg", None),
        ("classes", None, 1),
    ]
    assert events[0]["time"] <= events[1]["time"]
    assert end == path.stat().st_size
    assert read_events(path, end) == ([], end)


def test_what_was_cut_off_spoils_no_later_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_event(path, "first")
    with path.open("a") as stream:
        stream.write('{"event": "cut o')
    events, end = read_events(path)
    assert [event["event"] for event in events] == ["first"]
    append_event(path, "last")
    more, _ = read_events(path, end)
    assert [event["event"] for event in more] == ["last"]
    assert len(path.read_text().splitlines()) == 3


def test_no_journal_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "journal.jsonl") == ([], 0)


def test_each_event_is_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_event(path, "save", image="two\nlines.jpg")
    assert json.loads(path.read_text())["image"] == "two\nlines.jpg"
