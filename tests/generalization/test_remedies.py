"""Remedies are steps from where the run stood, and a plan accepts each of them."""

import dataclasses

import pytest

from trimtab.generalization.remedies import overfit_remedies, run_remedies, scaled_widths, underfit_remedies
from trimtab.models import MODELS, measure_size
from trimtab.plan import Plan
from trimtab.planning import Facts, model_kwargs, resolve

TABLE = resolve(Plan(data="t.csv"), Facts(kind="table", rows=2000, classes=3, columns=10))[0]
PICTURES = Facts(kind="image", rows=9000, classes=10, side=32, channels=3)


def names(remedies):
    return [remedy.name for remedy in remedies]


def test_every_kind_of_remedy_is_among_those_for_tables():
    assert names(overfit_remedies(TABLE, steps=3000)) == [
        "a third of the steps",
        "weight decay 1",
        "dropout 0.5",
        "mixup 0.4",
        "a quarter of the width",
        "L1 0.013",
        "label smoothing 0.1",
        "EMA 0.99",
    ]


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"mlp"}))
def test_plans_accept_the_remedies_for_pictures(model):
    plan = resolve(Plan(data="photos", model=model), PICTURES)[0]
    remedies = [*overfit_remedies(plan, steps=500), *underfit_remedies(plan, steps=500)]
    assert "strong augmentation" in names(remedies)
    for remedy in remedies:
        changed = dataclasses.replace(plan, **remedy.settings)
        again, _ = resolve(changed, PICTURES)
        assert again == changed
        size = measure_size(model, model_kwargs(changed, PICTURES), (3, plan.image_size, plan.image_size))
        assert size.parameters > 0


def test_what_the_run_had_already_is_not_tried():
    plan = dataclasses.replace(TABLE, mixup=0.2, ema=0.98, label_smoothing=0.2)
    tried = names(overfit_remedies(plan, steps=300))
    assert not [name for name in tried if name.startswith(("mixup", "EMA", "label"))]


def run_names(**changes):
    asked = {"hold_back": True, "give_more": True, "is_limited_in_size": False} | changes
    return names(run_remedies(TABLE, steps=3000, pass_steps=44, **asked))


def test_a_run_tries_lengths_in_passes_which_the_clock_can_still_stop():
    first = run_remedies(TABLE, steps=3000, pass_steps=44, hold_back=True, give_more=False, is_limited_in_size=False)[0]
    assert (first.name, first.settings) == ("at most 23 passes", {"epochs_at_most": 23})
    assert run_names()[1:-1] == names(overfit_remedies(TABLE, steps=3000))[1:]


def test_a_run_tries_a_wider_network_only_where_no_limit_forbids_it():
    assert run_names(hold_back=False) == ["twice the width"]
    assert run_names(hold_back=False, is_limited_in_size=True) == []
    assert "twice the width" not in run_names(give_more=False)


def test_underfit_remedies_double():
    steps, width = underfit_remedies(TABLE, steps=300)
    assert steps.settings == {"steps": 600}
    assert width.settings == {"options": {"hidden": [2 * each for each in TABLE.options["hidden"]]}}
    assert steps.work > 1


def test_heads_follow_the_width():
    options = {"width": 128, "heads": 4, "depth": 6}
    assert scaled_widths(options, 0.5) == {"width": 64, "heads": 2, "depth": 6}
    assert scaled_widths({"hidden": [4, 2]}, 0.25) == {"hidden": [2, 2]}
