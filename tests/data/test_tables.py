from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimtab.data import open_source
from trimtab.errors import InputError

TEXT = """id,age,job,member,Churn,note
1,39,clerk,True,no,aa
2,,clerk,False,yes,bb
3,50, miner ,True,no,cc
4,61,?,true,yes,dd
5,22,miner,false,no,ee
6,47,NA,True,yes,ff
"""


def message(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path, **options)
    return str(caught.value)


def test_columns_become_numbers_and_categories(write_csv) -> None:
    source = open_source(write_csv(TEXT), target="Churn")
    table = source.load().table
    assert table is not None
    assert dict(table.kinds) == {"age": "number", "job": "category", "member": "category"}
    assert np.isnan(table.columns["age"][1])
    assert table.columns["age"][[0, 2]].tolist() == [39.0, 50.0]
    assert table.columns["job"].tolist() == ["clerk", "clerk", "miner", "", "miner", ""]
    assert table.columns["member"].tolist() == ["true", "false", "true", "true", "false", "true"]


def test_source_says_what_was_found_and_ignored(write_csv) -> None:
    source = open_source(write_csv(TEXT), target="Churn")
    assert (source.name, source.kind, source.rows, source.columns) == ("churn", "table", 6, 3)
    assert source.class_names == ("no", "yes")
    assert source.class_counts == (3, 3)
    assert source.warnings == (
        "ignored the column 'id': a row number or id",
        "ignored the column 'note': a different text in nearly every row",
    )
    assert source.load().warnings == source.warnings


def test_raw_row_can_be_read_back(write_csv) -> None:
    dataset = open_source(write_csv(TEXT), target="Churn").load()
    assert dataset.read_original is not None
    assert dataset.read_original(2) == {"id": "3", "age": "50", "job": " miner ", "member": "True", "note": "cc"}
    assert dataset.row_names[2] == "row 3"


def test_rows_without_label_are_dropped(write_csv) -> None:
    dataset = open_source(write_csv(TEXT.replace("clerk,False,yes", "clerk,False,NA") + "7,1,a,true,yes,gg\n"),
                          target="Churn").load()  # fmt: skip
    assert len(dataset) == 6
    assert dataset.row_names[1] == "row 3"
    assert dataset.read_original is not None
    assert dataset.read_original(1) == {"id": "3", "age": "50", "job": " miner ", "member": "True", "note": "cc"}
    assert "dropped 1 of 7 rows: the column 'Churn' of churn.csv has no label there" in dataset.warnings


def test_groups_are_numbers_and_no_feature(write_csv) -> None:
    text = "x,y,who\n" + "".join(f"{row * 7 % 5},{'ab'[row % 2]},p{row // 2}\n" for row in range(8))
    dataset = open_source(write_csv(text), target="y", group="who").load()
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert dataset.table is not None
    assert list(dataset.table.columns) == ["x"]


def test_same_content_gives_the_same_hash_and_other_content_another(write_csv) -> None:
    first = open_source(write_csv(TEXT), target="Churn").load()
    same = open_source(write_csv(TEXT, "copy.csv"), target="Churn").load()
    other = open_source(write_csv(TEXT.replace("61", "62")), target="Churn").load()
    assert first.content_hash == same.content_hash != other.content_hash


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separator_is_read_off_the_header(write_csv, separator: str) -> None:
    table = open_source(write_csv(TEXT.replace(",", separator)), target="Churn").load().table
    assert table is not None
    assert list(table.columns) == ["age", "job", "member"]


def test_byte_order_mark_quotes_and_blank_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f'{row % 3},"a ""b"", c\nd",{"no" if row % 2 else "yes"}\n\n' for row in range(6))
    path.write_bytes(b"\xef\xbb\xbfx,text,y\r\n" + rows.encode())
    dataset = open_source(path, target="y").load()
    assert len(dataset) == 6
    assert dataset.read_original is not None
    assert dataset.read_original(0) == {"x": "0", "text": 'a "b", c\nd'}


def test_whole_numbers_as_labels_are_ordered_by_value(write_csv) -> None:
    text = "x,y\n" + "".join(f"{row % 3},{label}\n" for row, label in enumerate(["10.0", "9", "2"] * 4))
    assert open_source(write_csv(text), target="y").class_names == ("2", "9", "10")


def test_unnamed_index_column_is_ignored(write_csv) -> None:
    text = ",x,y\n" + "".join(f"{row},{row * 7 % 5},{'ab'[row % 2]}\n" for row in range(8))
    assert open_source(write_csv(text), target="y").warnings == ("ignored the column 'column 1': a row number or id",)


def test_missing_target_lists_likely_ones(write_csv) -> None:
    assert message(write_csv(TEXT)) == (
        "churn.csv is a table of 6 columns and no --target was given; "
        "expected the name of the column that holds the classes; "
        "pass --target NAME; likely ones are 'Churn'."
    )


def test_misspelt_target_is_refused_with_the_nearest_name(write_csv) -> None:
    assert message(write_csv(TEXT), target="Churned") == (
        "the column 'Churned' is not in churn.csv; expected one of its 6 columns as --target; "
        "did you mean 'Churn'? pass --target Churn."
    )


def test_target_like_no_column_lists_the_columns(write_csv) -> None:
    assert message(write_csv(TEXT), target="zzz") == (
        "the column 'zzz' is not in churn.csv; expected one of its 6 columns as --target; "
        "choose from 'id', 'age', 'job', 'member', 'Churn' and 1 more."
    )


def test_misspelt_group_is_refused(write_csv) -> None:
    assert message(write_csv(TEXT), target="Churn", group="jobb") == (
        "the column 'jobb' is not in churn.csv; expected one of its 5 columns as --group; "
        "did you mean 'job'? pass --group job."
    )


def test_target_that_is_an_id_is_refused(write_csv) -> None:
    assert message(write_csv(TEXT), target="id") == (
        "the column 'id' of churn.csv has 6 different values in 6 rows; "
        "expected a few classes with several rows each; choose another column with --target; it looks like an id."
    )


def test_infinite_values_are_refused_by_column_count_and_row(write_csv) -> None:
    text = TEXT.replace("50", "inf").replace("22", "-Infinity")
    assert message(write_csv(text), target="Churn") == (
        "the column 'age' of churn.csv has 2 infinite values (the first in row 3); "
        "expected finite numbers below 1e30, or empty cells where a value is missing; correct these cells or empty "
        "them."
    )


def test_empty_file_is_refused(write_csv) -> None:
    assert message(write_csv(""), target="y") == (
        "churn.csv is empty; expected a header and a row per example; choose another file."
    )


def test_header_alone_is_refused(write_csv) -> None:
    assert message(write_csv("a,b\n"), target="b") == (
        "churn.csv has a header and no rows; expected a row per example; add rows."
    )


def test_ragged_file_is_refused_by_line(write_csv) -> None:
    assert message(write_csv(TEXT + "7,1,a\n"), target="Churn") == (
        "line 8 of churn.csv has 3 cells; expected 6, as in the header; "
        "correct that line; a cell with a separator in it needs double quotes."
    )


def test_other_encoding_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "churn.csv"
    path.write_bytes(TEXT.encode() + "7,1,caf\xe9,true,no,x\n".encode("latin-1"))
    assert message(path, target="Churn") == (
        "line 8 of churn.csv (byte 0xe9) is not UTF-8 text; expected a CSV file in UTF-8; "
        "save it again as CSV in UTF-8."
    )


def test_binary_noise_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.csv"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert "noise.csv" in message(path, target="y")


def test_column_name_used_twice_is_refused(write_csv) -> None:
    assert message(write_csv("a,b,a\n1,2,3\n"), target="b") == (
        "churn.csv has more than one column named 'a'; expected a name for each column; rename one."
    )


def test_file_without_header_is_refused(write_csv) -> None:
    assert message(write_csv("1,2\n3,4\n"), target="b") == (
        "the first line of churn.csv holds numbers only; expected a header with column names; add a header line."
    )


def test_table_of_useless_columns_is_refused(write_csv) -> None:
    text = "x,y\n" + "".join(f"1,{'ab'[row % 2]}\n" for row in range(8))
    assert message(write_csv(text), target="y") == (
        "churn.csv has no usable column (ignored the column 'x': constant); "
        "expected columns that say something about the class; add some."
    )


def test_parquet_types_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table(
        {
            "whole": pa.array([1, None, 3, 3, 2, 2]),
            "code": ["07", "08", "07", "08", "07", "07"],
            "flag": [True, False, None, True, True, False],
            "kind": pa.array(["a", "b", None, "a", "b", "a"]).dictionary_encode(),
            "when": pa.array([0, 1, 2, 3, 4, 5], pa.timestamp("ms")),
            "nothing": pa.nulls(6),
            "y": [0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
        }
    )
    pq.write_table(table, path)
    source = open_source(path, target="y")
    found = source.load().table
    assert found is not None
    assert dict(found.kinds) == {"whole": "number", "code": "category", "flag": "category", "kind": "category"}
    assert found.columns["code"].tolist() == ["07", "08", "07", "08", "07", "07"]
    assert found.columns["flag"].tolist() == ["true", "false", "", "true", "true", "false"]
    assert found.columns["kind"].tolist() == ["a", "b", "", "a", "b", "a"]
    assert source.class_names == ("0", "1")
    assert source.warnings == (
        "ignored the column 'when': type timestamp[ms]",
        "ignored the column 'nothing': constant",
    )


def test_nested_target_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": [1, 2], "y": [[1], [2]]}), path)
    assert message(path, target="y") == (
        "the column 'y' of t.parquet holds list<element: int64> values; expected one class per row; "
        "choose another column."
    )


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), path)
    assert message(path, target="x") == "t.parquet has no rows; expected a row per example; add rows."
