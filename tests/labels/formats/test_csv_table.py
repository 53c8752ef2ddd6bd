"""Plain CSV: which columns are which, each row with its line, and what is wrong with the others."""

from __future__ import annotations

import time

import pytest

from detfinetune.labels.formats.raw_labels import BadFile, Document, RawLabel
from detfinetune.labels.formats.registry import DOCUMENT_FORMATS, explain_unreadable
from detfinetune.labels.formats.tables.csv_table import detect_csv, parse_csv


def labels(document: Document) -> list[RawLabel]:
    return [label for image in document.images for label in image.labels]


def problems(document: Document) -> list[tuple[int, str]]:
    found = [*document.problems, *(p for image in document.images for p in image.problems)]
    return sorted((problem.line, problem.kind) for problem in found)


def only(text: str) -> RawLabel:
    document = parse_csv(text)
    assert problems(document) == []
    (label,) = labels(document)
    return label


@pytest.mark.parametrize(
    ("heading", "row", "xyxy", "form"),
    [
        ("filename,class,xmin,ymin,xmax,ymax", "a.jpg,cat,1,2,4,8", (1, 2, 4, 8), "xyxy"),
        ("ymax,xmax,Class Name,x_min,Y-MIN,Image", "8,4,cat,1,2,a.jpg", (1, 2, 4, 8), "xyxy"),
        ("image,x1,y1,x2,y2,label", "a.jpg,1,2,4,8,cat", (1, 2, 4, 8), "xyxy"),
        ("image,x0,y0,x1,y1,label", "a.jpg,1,2,4,8,cat", (1, 2, 4, 8), "xyxy"),
        ("path,left,top,right,bottom,name", "a.jpg,1,2,4,8,cat", (1, 2, 4, 8), "xyxy"),
        ("path,left,top,width,height,name", "a.jpg,1,2,4,8,cat", (1, 2, 5, 10),
         "xywh"),
        ("file_name,x,y,w,h,category", "a.jpg,1,2,4,8,cat", (1, 2, 5, 10), "xywh"),
        ("file_name,x,y,width,height,type", "a.jpg,1,2,4,8,cat", (1, 2, 5, 10),
         "xywh"),
        ("frame,cx,cy,w,h,class", "a.jpg,4,8,2,4,cat", (3, 6, 5, 10), "cxcywh"),
        ("img,x_center,y_center,width,height,class", "a.jpg,4,8,2,4,cat", (3, 6, 5, 10),
         "cxcywh"),
        ("image_id,bbox,class", 'a.jpg,"[1.0, 2.0, 4.0, 8.0]",cat', (1, 2, 5, 10),
         "xywh"),
        ("image_id,bbox_xyxy,class", 'a.jpg,"(1 2 4 8)",cat', (1, 2, 4, 8), "xyxy"),
        ("name,filename,bbox_x,bbox_y,bbox_width,bbox_height,image_width,image_height",
         "cat,a.jpg,1,2,4,8,90,70", (1, 2, 5, 10), "xywh"),
    ],
)  # fmt: skip
def test_headings(heading: str, row: str, xyxy: tuple[float, ...], form: str) -> None:
    text = f"{heading}\n{row}\n"
    label = only(text)
    assert label == RawLabel("cat", xyxy, form=form, line=2, text=row)  # type: ignore[arg-type]
    assert parse_csv(text).images[0].name == "a.jpg"
    assert detect_csv(text).startswith("a heading with ")


def test_the_image_size_and_the_split_are_taken_from_their_columns() -> None:
    text = (
        "split,filename,width,height,class,xmin,ymin,xmax,ymax,iscrowd,source\n"
        "TRAIN,a.jpg,640,480,cat,1,2,3,4,0,web\n"
        "TRAIN,a.jpg,640,480,cat,1,2,30,40,1,web\n"
        "test,b.jpg,640.0,x,cat,1,2,3,4,,web\n"
        "train,b.jpg,640,480,cat,1,2,3,4,,web\n"
    )
    document = parse_csv(text)
    assert [(i.name, i.size, i.split, i.line) for i in document.images] == [
        ("a.jpg", (640, 480), "TRAIN", 2), ("b.jpg", (640, 480), "test", 4),
    ]  # fmt: skip
    assert [label.crowd for label in labels(document)] == [False, True, False, False]
    assert document.notes == [
        "rows that put their image into another split than its first row: 1",
        "columns ignored: source",
    ]


def test_gtsrb() -> None:
    text = (
        "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
        "00000/00000_00000.ppm;29;30;5;6;24;25;0\n"
    )
    assert only(text).xyxy == (5, 6, 24, 25)
    assert only(text).class_token == "0"
    assert parse_csv(text).images[0].size == (29, 30)


def test_wheat_heads() -> None:
    text = (
        "image_id,width,height,bbox,source\n"
        'b6ab77fd7,1024,1024,"[834.0, 222.0, 56.0, 36.0]",usask_1\n'
        'b6ab77fd7,1024,1024,"[226.0, 548.0, 130.0]",usask_1\n'
        "0a3cb453f,1024,1024,,usask_1\n"
    )
    document = parse_csv(text)
    assert [label.xyxy for label in labels(document)] == [(834, 222, 890, 258)]
    assert [label.class_token for label in labels(document)] == [""]
    assert problems(document) == [(3, "wrong number of values")]
    assert [image.name for image in document.images] == ["b6ab77fd7", "0a3cb453f"]
    assert "there is no column for the class" in document.notes
    assert any("bbox_xyxy" in note for note in document.notes)


def test_retinanet_without_heading() -> None:
    text = "/data/a.jpg,837,346,981,456,cow\n/data/a.jpg,215,312,279,391,cat\n/data/b.jpg,,,,,\n"
    document = parse_csv(text)
    assert detect_csv(text) == "rows of path,x1,y1,x2,y2,class without a heading"
    assert [(i.name, len(i.labels)) for i in document.images] == [
        ("/data/a.jpg", 2), ("/data/b.jpg", 0),
    ]  # fmt: skip
    assert [(l.line, l.class_token, l.xyxy) for l in labels(document)] == [  # noqa: E741
        (1, "cow", (837, 346, 981, 456)), (2, "cat", (215, 312, 279, 391)),
    ]  # fmt: skip
    assert problems(document) == []


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("cat,1,2,30,4,a.jpg\ndog,10,20,5,4,a.jpg\nx,9,9,1,1,b.jpg\n", "class,x,y,w,h,path"),
        ("a.jpg,1,2,9,9,0\nb.jpg,1,2,9,9,11\n", "path,x1,y1,x2,y2,class"),
        ("a.jpg,7,1,2,9,9\nb.jpg,7,3,1,9,9\n", "path,class,x1,y1,x2,y2"),
        ("cat\ta.jpg\t1\t2\t9\t9\n", "class,path,x1,y1,x2,y2"),
        ("a.jpg,0,73,96,91,138\nb.jpg,2,5,6,9,9\n", "path,class,x1,y1,x2,y2"),
        ("a.jpg,73,96,91,138,0\nb.jpg,5,6,9,9,2\n", "path,x1,y1,x2,y2,class"),
        ("a.jpg,0.1,0.2,0.4,0.8,1\nb.jpg,0.3,0.2,0.5,0.9,2\n", "path,x1,y1,x2,y2,class"),
        ("a.jpg,1,0.1,0.2,0.4,0.8\nb.jpg,2,0.3,0.2,0.5,0.9\n", "path,class,x1,y1,x2,y2"),
        ("a.jpg,1,73,96,20,30\nb.jpg,0,5,6,9,9\n", "path,class,x,y,w,h"),
    ],
)
def test_columns_are_found_by_their_values(text: str, evidence: str) -> None:
    assert detect_csv(text) == f"rows of {evidence} without a heading"
    assert len(labels(parse_csv(text))) == text.count("\n")


def test_images_without_objects_may_come_first() -> None:
    text = "".join(f"{i}.jpg,,,,,\n" for i in range(500)) + "a.jpg,1,2,3,4,cat\n"
    assert only(text).line == 501
    assert len(parse_csv(text).images) == 501


@pytest.mark.parametrize(
    "text",
    [
        "image;x1;y1;x2;y2;class\na.jpg;0,5;1,25;3;4e0;cat\n",
        "image\tx1\ty1\tx2\ty2\tclass\na.jpg\t0,5\t1,25\t3\t4\tcat\n",
        "image|x1|y1|x2|y2|class\na.jpg|0.5|1.25|3|4|cat\n",
        'image,x1,y1,x2,y2,class\na.jpg,"0,5","1,25","3,00","4",cat\n',
        "sep=;\nimage;x1;y1;x2;y2;class\na.jpg;0,5;1,25;3;4;cat\n",
        "a.jpg;0,5;1,25;3,0;4,0;cat\n",
        "\ufeffimage,x1,y1,x2,y2,class\r\na.jpg,0.5,1.25,3,4,cat\r\n",
        "image,x1,y1,x2,y2,class\ra.jpg,0.5,1.25,3,4,cat\r",
        "sep=;\n\nimage;x1;y1;x2;y2;class\na.jpg;0,5;1,25;3;4;cat\n",
        "# made by hand\n\n#\nimage,x1,y1,x2,y2,class\na.jpg,0.5,1.25,3,4,cat\n",
        "# made by hand\n# twice\nimage,x1,y1,x2,y2,class\na.jpg,0.5,1.25,3,4,cat",
    ],
)
def test_delimiters_and_decimal_commas(text: str) -> None:
    assert only(text).xyxy == (0.5, 1.25, 3, 4)


def test_a_comma_that_may_part_thousands_is_no_decimal_comma() -> None:
    text = 'image,x1,y1,x2,y2,class\na.jpg,1,2,"1,024","2,048",cat\n'
    assert problems(parse_csv(text)) == [(2, "not a number")]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("a.jpg,1,2,3,cat", "too few columns"),
        ("a.jpg,1,2,3,4,cat,dog", "too many columns"),
        ("a.jpg,1,2,,4,cat", "missing value"),
        ("a.jpg,,,,,cat", "missing value"),
        ("a.jpg,1,2,3,4,", "no class"),
        (",1,2,3,4,cat", "no image"),
        ("a.jpg,1,2,x,4,cat", "not a number"),
        ("a.jpg,1,2,1_0,4,cat", "not a number"),
        ("a.jpg,1,2,nan,4,cat", "not finite"),
        ("a.jpg,1,2,1e999,4,cat", "not finite"),
        ("a.jpg,1e308,2,1e308,4,cat", "not finite"),
        ('"a.jpg,1,2,3,4,cat', "quote not closed"),
        (f"a.jpg,1,2,3,4,{'c' * 200_000}", "unreadable row"),
    ],
)
def test_a_wrong_row_is_a_problem_with_its_line(row: str, kind: str) -> None:
    text = f"path,x1,y1,x2,y2,class\nb.jpg,1,2,3,4,cat\n{row}\n\nb.jpg,1,2,3,5,cat\n"
    document = parse_csv(text)
    assert problems(document) == [(3, kind)]
    assert [label.line for label in labels(document)] == [2, 5]
    (problem,) = [*document.problems, *(p for i in document.images for p in i.problems)]
    assert problem.text == row[:200]


def test_rows_that_are_only_too_long_by_blank_cells_are_read() -> None:
    assert only("path,x1,y1,x2,y2,class\na.jpg,1,2,3,4,cat,, ,\n").class_token == "cat"


@pytest.mark.parametrize("row", ["b.jpg,,,,,", "b.jpg,NaN,NaN,NaN,NaN,NaN", "b.jpg,,,,,No finding"])
def test_images_without_objects(row: str) -> None:
    document = parse_csv(f"path,x1,y1,x2,y2,class\n{row}\n")
    assert [(i.name, i.labels, i.problems) for i in document.images] == [("b.jpg", [], [])]
    assert problems(document) == []


def test_a_cell_that_goes_on_to_the_next_line_is_refused() -> None:
    text = (
        "path,x1,y1,x2,y2,class,remark\n"
        'a.jpg,1,2,3,4,cat,"two\nlines"\n'
        "\n"
        "   \n,,,,,,\n"
        "b.jpg,1,2,3,4,dog,\n"
    )
    document = parse_csv(text)
    assert problems(document) == [(2, "quote not closed"), (3, "too few columns")]
    assert [(label.line, label.class_token) for label in labels(document)] == [(7, "dog")]


def test_an_open_quote_swallows_no_other_row() -> None:
    text = (
        "filename,class,xmin,ymin,xmax,ymax\n"
        '"a.jpg,cat,1,2,3,4\n'
        '"b.jpg,cat,1,2,3,4\n'
        "c.jpg,cat,1,2,3,4\n"
        'd.jpg,"cat,1,2,3,4\n'
        "e.jpg,cat,1,2,3,4\n"
    )
    document = parse_csv(text)
    assert problems(document) == [
        (2, "quote not closed"), (3, "quote not closed"), (5, "quote not closed"),
    ]  # fmt: skip
    assert [label.line for label in labels(document)] == [4, 6]


def test_a_repeated_heading_is_ignored_and_counted() -> None:
    heading = "path,x1,y1,x2,y2,class"
    document = parse_csv(f"{heading}\na.jpg,1,2,3,4,cat\n{heading}\nb.jpg,1,2,3,4,cat\n")
    assert [label.line for label in labels(document)] == [2, 4]
    assert problems(document) == []
    assert document.notes == ["rows that repeat the heading, ignored: 1"]


@pytest.mark.parametrize(
    ("rows", "normalized"),
    [
        (["0.1,0.2,0.3,0.4"] * 19 + ["1,2,3,4"], True),
        (["0.1,0.2,0.3,0.4"] * 18 + ["1,2,3,4"], False),
        (["0,0,1,1"] * 20, False),
        (["-0.1,0.2,0.3,0.4"], False),
    ],
)
def test_normalized(rows: list[str], normalized: bool) -> None:
    text = "\n".join(["path,x1,y1,x2,y2,class", *(f"a.jpg,{row},cat" for row in rows)])
    assert parse_csv(text).normalized is normalized


def test_missing_columns_are_named_with_the_nearest_names() -> None:
    with pytest.raises(BadFile) as caught:
        parse_csv("# note\nfilename,label,xmn,ymin,xmax,ymax\na.jpg,cat,1,2,3,4\n")
    assert caught.value.line == 2
    assert str(caught.value) == (
        "columns filename,label,xmn,ymin,xmax,ymax: no column xmin or x1 or left. Did you mean "
        "'xmn'? A box needs x1,y1,x2,y2 or x,y,w,h or one geometry column"
    )
    with pytest.raises(BadFile, match=r"^columns picture,xmin,ymin,xmax,ymax: no image column \(f"):
        parse_csv("picture,xmin,ymin,xmax,ymax\na,1,2,3,4\n")
    with pytest.raises(BadFile) as caught:
        parse_csv("image_id,foo,bar\na,1,2\n")
    assert str(caught.value) == (
        "columns image_id,foo,bar: no box columns (x1,y1,x2,y2 or x,y,w,h or one geometry column)"
    )


SQUARE = ((1, 2, 5, 2, 5, 9, 1, 9),)


@pytest.mark.parametrize("column", ["geometry", "bbox", "segmentation", "whatever"])
@pytest.mark.parametrize(
    ("cell", "polygons"),
    [
        ("[(1, 2), (5, 2), (5, 9), (1, 9)]", SQUARE),
        ("((1, 2), (5, 2), (5, 9), (1, 9))", SQUARE),
        ("(1,2),(5,2),(5,9),(1,9)", SQUARE),
        ("[[1,2],[5.0,2],[5,9],[1,9]]", SQUARE),
        ("[[1,2,5,2,5,9,1,9]]", SQUARE),
        ("[1,2,5,2,5,9,1,9]", SQUARE),
        ("[[[1,2],[5,2],[5,9],[1,9]]]", SQUARE),
        ("[[1,2,5,2,5,9,1,9],[0,0,3,0,3,3]]", (*SQUARE, (0, 0, 3, 0, 3, 3))),
        ("POLYGON ((1 2, 5 2, 5 9, 1 9, 1 2))", ((*SQUARE[0], 1, 2),)),
        ("polygon z((1 2 0, 5 2 0, 5 9 0, 1 2 0))", ((1, 2, 5, 2, 5, 9, 1, 2),)),
        ("MULTIPOLYGON (((1 2, 5 2, 5 9, 1 2)), ((0 0, 3 0, 3 3, 0 0)))",
         ((1, 2, 5, 2, 5, 9, 1, 2), (0, 0, 3, 0, 3, 3, 0, 0))),
        ('{"type": "Polygon", "coordinates": [[[1, 2], [5, 2], [5, 9], [1, 2]]]}',
         ((1, 2, 5, 2, 5, 9, 1, 2),)),
    ],
)  # fmt: skip
def test_polygons_in_one_cell(
    column: str, cell: str, polygons: tuple[tuple[float, ...], ...]
) -> None:
    quoted = cell.replace('"', '""')
    text = f'image_id,{column},class\na,"{quoted}",cat\nb,,\n'
    label = only(text)
    assert (label.polygons, label.has_box, label.class_token) == (polygons, False, "cat")
    assert label.xyxy[:2] == (0 if len(polygons) > 1 else 1, 0 if len(polygons) > 1 else 2)
    assert [(image.name, len(image.labels)) for image in parse_csv(text).images] == [
        ("a", 1), ("b", 0),
    ]  # fmt: skip
    assert detect_csv(text) == f"a heading with image_id, {column}, class"


@pytest.mark.parametrize(
    ("cell", "xyxy"),
    [
        ("1,2,4,8", (1, 2, 5, 10)),
        ("[1, 2, 4, 8]", (1, 2, 5, 10)),
        ("[1. 2. 4. 8.]", (1, 2, 5, 10)),
        ("[[1, 2, 4, 8]]", (1, 2, 5, 10)),
        ("[(1, 2), (4, 8)]", (1, 2, 4, 8)),
    ],
)
def test_a_box_in_one_cell(cell: str, xyxy: tuple[float, ...]) -> None:
    label = only(f'image,place,class\na.jpg,"{cell}",cat\n')
    assert (label.xyxy, label.polygons) == (xyxy, ())


@pytest.mark.parametrize(
    ("rows", "expected", "form"),
    [
        (["10,10,30,30", "50,20,30,40"], (10, 10, 40, 40), "xywh"),
        # 80 + 30 is more than the image's width of 100.
        (["10,10,30,30", "80,50,30,40"], (10, 10, 40, 40), "xywh"),
        (["10,10,30,30", "80,50,95,60"], (10, 10, 30, 30), "xyxy"),
        (["0.1,0.1,0.3,0.3", "0.8,0.5,0.95,0.6"], (0.1, 0.1, 0.3, 0.3), "xyxy"),
    ],
)
def test_four_numbers_are_read_as_what_fits_all_rows(
    rows: list[str], expected: tuple[float, ...], form: str
) -> None:
    lines = [f'a.jpg,100,80,"[{row}]",cat' for row in rows]
    document = parse_csv("\n".join(["image,width,height,bbox,class", *lines]))
    assert labels(document)[0].xyxy == pytest.approx(expected)
    (note,) = document.notes
    other = {"xyxy": "xywh", "xywh": "xyxy"}[form]
    assert note == (
        f"the four numbers of column bbox were read as {form}. Rename it to bbox_{other} if they "
        f"are {other}"
    )


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("[1,2,3]", "wrong number of values"),
        ("[1,2,3,4,5]", "wrong number of values"),
        ("[(1,2),(3,4),(5)]", "wrong number of values"),
        ("[[1,2,3,4],[5,6,7,8]]", "too few points"),
        ("12 3 400 9 700 2", "wrong number of values"),
        ("[1,2,NaN,4]", "not finite"),
        ("[1,2,null,4]", "missing value"),
        ("[1,2,1e308,1e308]", "not finite"),
        ("POLYGON ((1 2, nan 3, 4 5, 1 2))", "not finite"),
        ("POLYGON ((1 2, 3 3", "not a geometry"),
        ("LINESTRING (1 2, 3 3)", "not a box or polygon"),
        ("{}", "not a geometry"),
        ("somewhere", "not a geometry"),
        ("[" * 5000, "wrong number of values"),
    ],
)
def test_a_cell_that_is_not_a_geometry(cell: str, kind: str) -> None:
    document = parse_csv(f'image,geometry,class\na,"[1,2,3,4]",cat\nb,"{cell}",cat\n')
    assert problems(document) == [(3, kind)]


@pytest.mark.parametrize("cell", ["", "[]", "NaN", "POLYGON EMPTY", "[[]]"])
def test_an_empty_geometry_is_an_image_without_objects(cell: str) -> None:
    document = parse_csv(f'image,geometry,class\na,"[1,2,3,4]",cat\nb,{cell},\n')
    assert problems(document) == []
    assert [(image.name, len(image.labels)) for image in document.images] == [("a", 1), ("b", 0)]


def test_why_a_table_cannot_be_read() -> None:
    known = DOCUMENT_FORMATS["csv"]
    assert explain_unreadable(known, "image_id,foo,bar\na,1,2\n") == (
        ":1: columns image_id,foo,bar: no box columns (x1,y1,x2,y2 or x,y,w,h or one geometry "
        "column)"
    )
    assert explain_unreadable(known, "image,x,y,w,h\na,1,2,3,4\n") == ""


def test_run_lengths_are_not_taken_for_a_geometry() -> None:
    with pytest.raises(BadFile, match="no box columns"):
        parse_csv("ImageId,EncodedPixels\na.jpg,264661 17 265429 33\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\n",
        "sep=;",
        "sep=;\n\n",
        "#\n#\n",
        "\0\0",
        "a b c\n",
        "1,2,3,4,5\n",
        "a,b,c\n1,2,3\n",
    ],
)
def test_what_is_not_a_table(text: str) -> None:
    assert detect_csv(text) == ""
    with pytest.raises(BadFile):
        parse_csv(text)


@pytest.mark.parametrize(
    "text",
    [
        "0 0.5 0.5 0.1 0.1\n",
        "1,2,3,4,cat\n",
        "(563,478),(630,573),1 \n",
        "10 10 20 10 20 20 10 20 small-vehicle 0\n",
        "file_name,width,height\na.jpg,640,480\n",
        "/m/011k07,Tortoise\n",
        "epoch,train/loss,lr\n1,0.5,0.1\n",
    ],
)
def test_other_files_are_not_recognised(text: str) -> None:
    assert detect_csv(text) == ""


def test_a_head_that_ends_within_a_row_is_recognised() -> None:
    rows = "path,x1,y1,x2,y2,class\n" + "a.jpg,1,2,3,4,cat\n" * 400
    for length in range(3990, 4001):
        assert detect_csv(rows[:length])


VIA = (
    "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    "region_attributes\n"
    'a.jpg,9,"{}",2,0,"{""name"":""rect"",""x"":1,""y"":2,""width"":3,""height"":4}",'
    '"{""class"":""cat""}"\n'
    'a.jpg,9,"{}",2,1,"{""name"":""polygon"",""all_points_x"":[0,4,4],""all_points_y"":[0,0,2]}",'
    '"{""class"":""dog""}"\n'
    "b.jpg,9,{},0,0,{},{}\n"
    'c.jpg,9,"{}",1,0,"{""name"":""point"",""cx"":1,""cy"":2}","{""class"":""dog""}"\n'
    'c.jpg,9,"{}",1,0,"{""name"":""rect""","{""class"":""dog""}"\n'
)


def test_via_export() -> None:
    assert detect_csv(VIA) == "a heading with region_shape_attributes"
    document = parse_csv(VIA)
    box, outline = labels(document)
    assert (box.class_token, box.xyxy, box.line, box.form) == (
        "cat", (1, 2, 4, 6), 2, "xywh",
    )  # fmt: skip
    assert (outline.class_token, outline.xyxy, outline.line) == ("dog", (0, 0, 4, 2), 3)
    assert outline.polygons == ((0, 0, 4, 0, 4, 2),)
    assert [(i.name, len(i.labels), len(i.problems)) for i in document.images] == [
        ("a.jpg", 2, 0), ("b.jpg", 0, 0), ("c.jpg", 0, 2),
    ]  # fmt: skip
    assert problems(document) == [(5, "not a box or polygon"), (6, "not JSON")]


def test_a_hundred_thousand_rows_take_about_a_second() -> None:
    rows = "".join(
        f"img_{i // 10:06d}.jpg,{i % 97}.5,2,{100 + i % 89},50,cat\n" for i in range(100_000)
    )
    start = time.process_time()
    document = parse_csv(f"filename,xmin,ymin,xmax,ymax,class\n{rows}")
    assert len(labels(document)) == 100_000
    # A tenth of a million in a tenth of ten seconds, with room for a slow machine.
    assert time.process_time() - start < 3
