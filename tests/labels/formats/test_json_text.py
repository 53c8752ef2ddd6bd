"""Walking JSON with lines; what is said of JSON that is none."""

from __future__ import annotations

import json

import pytest

from detfinetune.labels.formats.json.json_text import JsonReader, paths_in
from detfinetune.labels.formats.raw_labels import BadFile

TEXT = """
{
  "a": [1,
        {"b": "two\\nlines"},

        [3]],
  "skipped": {"deep": [[]]},
  "a": [], "c": {"x": 1, "x": 2}
}
"""


def test_members_and_items_come_with_the_line_they_start_on() -> None:
    reader = JsonReader(TEXT)
    seen: list[tuple[str, int, object]] = []
    assert (reader.kind, reader.line) == ("an object", 2)
    for key in reader.members():
        if key == "a":
            seen += [("item", line, reader.value()) for line in reader.items()]
        elif key == "c":
            seen += [(name, reader.line, reader.value()) for name in reader.members()]
    reader.end()
    assert seen == [
        ("item", 3, 1),
        ("item", 4, {"b": "two\nlines"}),
        ("item", 6, [3]),
        # A key that is written twice is met twice, where json.loads would keep the last.
        ("x", 8, 1),
        ("x", 8, 2),
    ]


def walk(text: str) -> None:
    reader = JsonReader(text)
    for key in reader.members():
        if key == "a" and reader.kind == "a list":
            for _ in reader.items():
                reader.value()
    reader.end()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the file is empty"),
        (" \n\n", 1, "the file is empty"),
        ("\ufeff", 1, "the file is empty"),
        ("{", 1, "ends too soon; was the file copied whole?"),
        ('{"a": [\n1,\n2', 3, "ends too soon; was the file copied whole?"),
        ('{"a":\n "cut her', 2, "ends too soon; was the file copied whole?"),
        ('{"a": [1,\n 2,]}', 2, "not valid JSON at column 4 (expecting value)"),
        ('{"a": [1\n 2]}', 2, "not valid JSON at column 2 (expecting a comma between two items)"),
        ('{"a": 1,\n "b" 2}', 2, "not valid JSON at column 6 (expecting a colon after the key)"),
        ('{"a": 1,\n}', 2, "not valid JSON at column 1 (expecting a key in double quotes)"),
        ("{'a': 1}", 1, "not valid JSON at column 2 (expecting a key in double quotes)"),
        ('{"a": 1}\n{"a": 2}', 2, "more text follows after the JSON has ended"),
        ('{"a": ' + "[" * 100_000, 1, "nested too deeply"),
        ('{"a":\n' + "9" * 10_000 + "}", 2, "a number of thousands of digits"),
    ],
)
def test_broken_json_is_named_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(BadFile) as caught:
        walk(text)
    assert words in str(caught.value)
    assert caught.value.line == line


def test_a_byte_order_mark_does_no_harm() -> None:
    reader = JsonReader('\ufeff[{"a": 1}]')
    assert [(line, reader.value()) for line in reader.items()] == [(1, {"a": 1})]


def test_a_whole_document_reads_as_the_standard_library_reads_it() -> None:
    value = {"k": [1, 2.5, None, True, "ü\ud83d", {"n": {}}], "": [[], {}]}
    for indent in (None, 3):
        text = json.dumps(value, indent=indent)
        reader = JsonReader(text)
        read: dict[str, object] = {}
        for key in reader.members():
            read[key] = [reader.value() for _ in reader.items()]
        reader.end()
        assert read == json.loads(text)


def test_paths_in_a_head_that_is_cut_anywhere() -> None:
    text = json.dumps({"shapes": [{"label": "a {b}: [c", "points": [[1, 2]]}], "imagePath": "x"})
    whole = paths_in(text)
    assert whole == {
        ("shapes",),
        ("shapes", "[]", "label"),
        ("shapes", "[]", "points"),
        ("imagePath",),
    }
    assert all(paths_in(text[:end]) <= whole for end in range(len(text)))
    assert paths_in('[{"a": {"b": 1}}, {"c": "') == {("[]", "a"), ("[]", "a", "b"), ("[]", "c")}
    assert paths_in("no JSON } ] : at all") == set()
