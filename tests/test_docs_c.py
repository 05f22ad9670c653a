"""docs/c.md: its command is understood, its verdicts and files are those there are, its C compiles."""

import re
import shlex
import subprocess
from pathlib import Path

from tests.deployment.c_cases import WARNINGS, make_artifact, needs_compiler, source_of

from trimtab.cli import _parser
from trimtab.deployment.c import checking, packaging

TEXT = (Path(__file__).parent.parent / "docs" / "c.md").read_text()


def test_the_command_is_one_that_trimtab_understands():
    (command,) = re.findall(r"^trimtab (.+)$", TEXT, re.MULTILINE)
    assert not _parser().parse_known_args(shlex.split(command))[1]


def test_files_verdicts_and_options_are_those_there_are():
    files = {*source_of(make_artifact("cnn"), "photos").files, packaging.REPORT}
    assert set(re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE)) == files
    verdicts = {checking.VERIFIED, checking.NOT_CHECKED, checking.NOT_COMPILED, checking.DIFFERS}
    assert set(re.findall(r"^\| ([\w :]+?) \| \d \|", TEXT, re.MULTILINE)) == verdicts
    assert f"cc {' '.join(checking.OPTIONS)} main.c photos.c -o photos" in TEXT


@needs_compiler
def test_the_code_compiles(tmp_path):
    snippet = re.search(r"^```c\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert snippet is not None
    for name, text in source_of(make_artifact("cnn"), "photos").files.items():
        (tmp_path / name).write_text(text)
    body = "\n".join(f"    {line}" for line in snippet[1].splitlines())
    code = (
        f'#include <stdio.h>\n#include "photos.h"\nint main(void)\n{{\n    static uint8_t pixels[1200];\n{body}\n}}\n'
    )
    (tmp_path / "main.c").write_text(code)
    command = [str(checking.find_compiler()), *WARNINGS, "main.c", "photos.c", "-o", "photos"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert subprocess.run(["./photos"], cwd=tmp_path, capture_output=True, check=True, timeout=60).stdout
