"""``trimtab audit``: what it prints and leaves, for pictures and for tables, and what it refuses."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from trimtab.auditing import audit
from trimtab.cli import main
from trimtab.findings import CODES, load_findings


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of blurred noise, 30 for training and 30 for testing each; three test pictures are training ones."""
    root, rng = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(0)
    for part in ("train", "test"):
        for shade, name in enumerate(("cat", "dog")):
            (root / part / name).mkdir(parents=True)
            for index in range(30):
                small = Image.fromarray(rng.integers(0, 200, (5, 5, 3), dtype=np.uint8) + np.uint8(40 * shade))
                small.resize((24, 24), Image.Resampling.BICUBIC).save(root / part / name / f"{index}.png")
    for index in range(3):
        with Image.open(root / "train" / "cat" / f"{index}.png") as picture:
            picture.save(root / "test" / "cat" / f"copy{index}.jpg", quality=80)
    with Image.open(root / "train" / "cat" / "9.png") as picture:
        picture.save(root / "train" / "dog" / "odd.png")
    return root


@pytest.fixture(scope="module")
def churn(tmp_path_factory):
    """A table whose column ``refund`` is filled in when the customer has left."""
    rng = np.random.default_rng(0)
    lines = ["age,plan,refund,left"]
    for _ in range(400):
        has_left = rng.random() < 0.3
        refund = f"{rng.random():.4f}" if has_left else ""
        lines.append(f"{rng.normal(40, 10):.5f},{rng.choice(['a', 'b'])},{refund},{'yes' if has_left else 'no'}")
    path = tmp_path_factory.mktemp("data") / "churn.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_audit_of_pictures_names_copies_and_draws_them(photos, tmp_path, capsys):
    code = main(["audit", str(photos), "--out", str(tmp_path / "audit"), "--json"])
    assert code == 0
    printed = capsys.readouterr().out
    assert (
        "FOUND           DUPLICATES      critical: 3 of 63 test pictures (4.8%) are copies of ones trained" in printed
    )
    assert "In 1 of these the copies have different labels." in printed
    assert "docs/findings.md#duplicates" in printed
    assert "not checked     OVERFIT" in printed
    summary = json.loads(printed.splitlines()[-1])
    assert summary["audit"] == str(tmp_path / "audit")
    assert {finding["code"] for finding in summary["findings"]} == set(CODES)
    assert summary["findings"][0]["state"] == "found"
    with (tmp_path / "audit" / "copies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    across = {row["set"] for row in rows if row["part"] == "test"}
    assert sorted(row["name"] for row in rows if row["part"] == "test") == [f"test/cat/copy{i}.jpg" for i in range(3)]
    assert {row["name"] for row in rows if row["set"] in across} >= {f"train/cat/{i}.png" for i in range(3)}
    with Image.open(tmp_path / "audit" / "duplicates.png") as sheet:
        assert sheet.width > 1000


def test_the_page_is_complete_in_itself(photos, tmp_path):
    result = audit(photos, out=tmp_path / "audit")
    page = (result.directory / "audit.html").read_text()
    assert "1 critical" in page.split("<h1>")[1].split("</h1>")[0]
    assert "data:image/png;base64," in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    for code in CODES:
        assert code in page
    assert load_findings(result.directory / "findings.json") == [
        type(finding).from_dict(json.loads(json.dumps(finding.to_dict()))) for finding in result.findings
    ]


def test_an_audit_of_a_table_names_the_column_that_leaks(churn, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", str(churn), "--target", "left"]) == 0
    printed = capsys.readouterr().out
    assert "FOUND           LEAKAGE         critical: The column 'refund' alone avoids" in printed
    assert (tmp_path / "runs" / "churn-audit" / "audit.html").exists()
    assert not list((tmp_path / "runs" / "churn-audit").glob("*.png"))
    assert main(["audit", str(churn), "--target", "left"]) == 0
    assert (tmp_path / "runs" / "churn-audit-2" / "audit.html").exists()


def test_clean_data_have_no_findings(tmp_path):
    result = audit("breast_cancer", out=tmp_path / "audit")
    assert [finding.code for finding in result.findings if finding.state == "found"] == []
    assert "Nothing was found" in (tmp_path / "audit" / "audit.html").read_text()


def test_what_cannot_be_used_is_one_sentence(churn, tmp_path, capsys):
    assert main(["audit", str(churn), "--out", str(tmp_path / "audit")]) == 2
    assert "was given; expected the name of the column that holds the classes" in capsys.readouterr().err
    assert not (tmp_path / "audit").exists()


def test_an_output_that_cannot_be_written_is_one_sentence(churn, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["audit", str(churn), "--target", "left", "--out", str(tmp_path / "file" / "audit")]) == 2
    assert "expected a directory for the audit; choose another with --out." in capsys.readouterr().err
