import pytest

from trimtab.errors import InputError
from trimtab.plan import Plan

PLAN = Plan(
    data='a "quoted" \\ path/photos',
    minutes=2,
    model="cnn",
    options={"channels": [16, 32]},
    learning_rate=1e-05,
    skip_unreadable=True,
)


def test_a_plan_survives_toml(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN.to_toml({"model": "line one\nline two"}))
    assert Plan.from_toml(tmp_path / "plan.toml") == PLAN


def test_every_setting_stands_in_the_toml_with_a_comment():
    lines = [line for line in PLAN.to_toml().splitlines() if line and not line.startswith("[")]
    assert all("#" in line for line in lines)
    assert len(lines) == len(Plan.__dataclass_fields__)


def test_all_mistakes_are_named_at_once(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('minuts = 3\n[training]\nsteps = "many"\nthreads = true\n')
    with pytest.raises(InputError) as caught:
        Plan.from_toml(path)
    assert str(caught.value) == (
        f"{path}: 'minuts' is not a setting (did you mean 'minutes'?); steps is 'many', not a whole number; "
        "threads is True, not a whole number; there is no 'data'; expected the names and types that `trimtab plan` "
        "prints; correct the file."
    )


def test_a_file_that_is_no_toml_is_refused(tmp_path):
    (tmp_path / "plan.toml").write_text("data = ")
    with pytest.raises(InputError, match="cannot be read as a plan"):
        Plan.from_toml(tmp_path / "plan.toml")


def test_the_budget_is_the_three_limits():
    assert PLAN.budget.minutes == 2
    assert PLAN.budget.megabytes is None
