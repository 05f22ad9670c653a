import dataclasses
import math
import re

import pytest

from trimtab.errors import InputError
from trimtab.models import measure_size
from trimtab.plan import Plan
from trimtab.planning import Facts, resolve
from trimtab.planning.resolve import model_kwargs

DIGITS = Facts(kind="image", rows=1797, classes=10, side=8, channels=1, threads=2)
PHOTOS = Facts(kind="image", rows=3000, classes=5, side=640, is_one_size=False, channels=3, threads=2)
TABLE = Facts(kind="table", rows=24_561, classes=2, columns=14, threads=2)
ALL = {"digits": DIGITS, "photos": PHOTOS, "table": TABLE}


def plan(**settings):
    return Plan(data="x", **settings)


@pytest.mark.parametrize("facts", ALL.values(), ids=ALL)
def test_everything_but_the_limits_is_decided(facts):
    resolved, _ = resolve(plan(), facts)
    may_stay_open = {"target", "group", "megabytes", "milliseconds", "steps", "teacher", "teacher_mean", "teacher_std"}
    may_stay_open |= {"image_size"} if facts.kind == "table" else set()
    undecided = {name for name, value in dataclasses.asdict(resolved).items() if value is None}
    assert undecided <= may_stay_open


@pytest.mark.parametrize("facts", ALL.values(), ids=ALL)
def test_a_resolved_plan_resolves_to_itself(facts):
    resolved, _ = resolve(plan(), facts)
    assert resolve(resolved, facts) == (resolved, {})


def test_what_the_user_decided_is_kept_and_not_explained():
    resolved, reasons = resolve(plan(model="separable_cnn", batch_size=7, image_size=48), PHOTOS)
    assert (resolved.model, resolved.batch_size, resolved.image_size) == ("separable_cnn", 7, 48)
    assert not {"model", "batch_size", "image_size"} & reasons.keys()


def test_a_smaller_size_limit_gives_a_smaller_network():
    def parameters(megabytes):
        resolved, _ = resolve(plan(megabytes=megabytes, minutes=10), PHOTOS)
        kwargs = model_kwargs(resolved, PHOTOS)
        size = resolved.image_size
        return measure_size(resolved.model, kwargs, (3, size, size)).parameters

    assert parameters(0.05) < parameters(0.3) < parameters(10)
    assert parameters(0.3) < 0.3e6


def test_a_tighter_latency_limit_gives_less_work():
    def macs(milliseconds):
        resolved, _ = resolve(plan(milliseconds=milliseconds, image_size=64, minutes=30), PHOTOS)
        return measure_size(resolved.model, model_kwargs(resolved, PHOTOS), (3, 64, 64)).macs

    assert macs(0.8) < macs(2) < macs(20)


def test_a_limit_that_nothing_meets_gives_the_smallest_and_says_so():
    resolved, reasons = resolve(plan(megabytes=0.001), DIGITS)
    assert resolved.options == {"channels": [8, 16]}
    assert "hardly be met" in reasons["model"]


def test_grey_pictures_are_not_mirrored_and_color_pictures_are():
    assert resolve(plan(), DIGITS)[0].augment == "light"
    assert resolve(plan(), PHOTOS)[0].flip


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_the_learning_rate_is_one_that_fits_the_optimizer(optimizer):
    resolved, reasons = resolve(plan(optimizer=optimizer), PHOTOS)
    rates = {"adamw": 0.003, "muon": 0.02, "sgd": 0.05}
    assert resolved.learning_rate == rates[optimizer]
    assert reasons["learning_rate"] == f"fits {optimizer} at this batch size"


@pytest.mark.parametrize(("rows", "share"), [(3_000, 0.15), (10_000, 0.1), (40_000, 0.05)])
def test_the_more_rows_the_smaller_the_share_that_is_held_out(rows, share):
    resolved, _ = resolve(plan(), dataclasses.replace(PHOTOS, rows=rows))
    assert resolved.validation_fraction == resolved.test_fraction == share


def test_more_minutes_give_a_wider_network():
    many = dataclasses.replace(PHOTOS, rows=40_000, side=32, is_one_size=True, has_bfloat16=True)

    def width(minutes):
        resolved, _ = resolve(plan(minutes=minutes), many)
        assert resolved.model == "resnet"
        return resolved.options["channels"][0]

    assert width(1) < width(3) < width(10) < width(60)


def test_branches_and_matrix_units_are_used_where_there_are_passes_enough():
    many = dataclasses.replace(PHOTOS, rows=40_000, side=32, is_one_size=True, has_bfloat16=True)
    able = dataclasses.replace(many, has_matrix_units=True)
    few, enough = (resolve(plan(minutes=10), facts)[0].options for facts in (many, able))
    assert "depth" not in few
    assert enough["depth"] == 3


def test_numpy_trains_the_network_that_it_is_fast_at():
    assert resolve(plan(engine="numpy", image_size=32), PHOTOS)[0].model == "cnn"


def test_large_pictures_are_read_in_patches():
    resolved, _ = resolve(plan(model="resnet", image_size=96), PHOTOS)
    assert resolved.options["stem"] == "patch"
    assert resolve(plan(model="resnet", image_size=64), PHOTOS)[0].options["stem"] == "whitening"


def test_bfloat16_only_where_the_processor_has_it():
    assert resolve(plan(), PHOTOS)[0].precision == "float32"
    assert resolve(plan(), dataclasses.replace(PHOTOS, has_bfloat16=True))[0].precision == "bfloat16"


def test_torch_is_the_engine_where_it_is_installed_and_numpy_elsewhere():
    bare = dataclasses.replace(PHOTOS, has_torch=False, has_bfloat16=True)
    for facts, engine, reason in ((PHOTOS, "torch", "it is installed"), (bare, "numpy", "torch is not installed")):
        resolved, reasons = resolve(plan(), facts)
        assert (resolved.engine, reasons["engine"]) == (engine, reason)


@pytest.mark.parametrize("facts", ALL.values(), ids=ALL)
def test_numpy_trains_in_float32(facts):
    capable = dataclasses.replace(facts, has_bfloat16=True)
    resolved, reasons = resolve(plan(engine="numpy"), capable)
    assert resolved.precision == "float32"
    assert reasons["precision"] == "the NumPy engine computes in float32"
    assert "engine" not in reasons


def test_numpy_gets_a_network_that_it_can_train_in_the_time():
    def macs(engine):
        resolved, _ = resolve(plan(minutes=0.5, image_size=48, engine=engine, model="separable_cnn"), PHOTOS)
        return measure_size(resolved.model, model_kwargs(resolved, PHOTOS), (3, 48, 48)).macs

    assert macs("numpy") < macs("torch")


@pytest.mark.parametrize("has_torch", [True, False])
def test_bfloat16_with_numpy_is_refused(has_torch):
    request = plan(precision="bfloat16", engine="numpy" if has_torch else None)
    with pytest.raises(InputError) as caught:
        resolve(request, dataclasses.replace(PHOTOS, has_torch=has_torch))
    assert str(caught.value) == (
        "precision is 'bfloat16' and engine is 'numpy'; expected float32, in which the NumPy engine computes; change "
        "one of them or leave the precision out."
    )


def test_torch_where_it_is_not_installed_is_refused():
    with pytest.raises(InputError) as caught:
        resolve(plan(engine="torch"), dataclasses.replace(TABLE, has_torch=False))
    assert str(caught.value) == (
        "engine is 'torch', which is not installed; expected an engine that is; pip install 'trimtab[train]', or "
        "change it to numpy or leave it out."
    )


def test_pictures_are_never_enlarged():
    assert resolve(plan(), DIGITS)[0].image_size == 8
    for side, size in ((50, 48), (20, 20)):
        small = dataclasses.replace(PHOTOS, side=side)
        assert resolve(plan(minutes=1000), small)[0].image_size == size


def test_an_impossible_choice_names_the_possible_ones():
    with pytest.raises(InputError) as caught:
        resolve(plan(model="cnm"), DIGITS)
    assert str(caught.value) == (
        "model is 'cnm'; expected one of cnn, separable_cnn, resnet, vit for pictures; did you mean 'cnn'? change it "
        "or leave it out."
    )


def test_a_network_for_pictures_is_refused_for_a_table():
    with pytest.raises(InputError, match="model is 'cnn'; expected one of mlp for a table"):
        resolve(plan(model="cnn"), TABLE)


@pytest.mark.parametrize(
    ("name", "value"),
    [("minutes", -1), ("test_fraction", 0.95), ("dropout", 1.5), ("steps", 0), ("max_drop", math.inf), ("seed", 2**40)],
)
def test_a_number_out_of_range_is_refused(name, value):
    with pytest.raises(
        InputError, match=f"^{name} is {re.escape(format(value, 'g'))}; expected a number above 0, at most"
    ):
        resolve(plan(**{name: value}), TABLE)


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        (
            "cutmix",
            1.0,
            "cutmix is 1 for a table; expected 0: a table has no area to paste; leave it out, or use --mixup.",
        ),
        ("test_time", "mirror", "test_time is 'mirror'; expected one of none for a table; change it or leave it out."),
    ],
)
def test_what_only_pictures_have_is_refused_for_a_table(setting, value, sentence):
    with pytest.raises(InputError) as caught:
        resolve(plan(**{setting: value}), TABLE)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("settings", "facts", "expected"),
    [
        ({}, PHOTOS, "mirror"),
        ({"milliseconds": 20.0}, PHOTOS, "mirror"),
        ({"milliseconds": 1.0}, PHOTOS, "none"),
        ({"milliseconds": 20.0, "options": {"channels": [16, 32]}, "model": "cnn"}, PHOTOS, "none"),
        ({"options": {"channels": [16, 32]}, "model": "cnn"}, PHOTOS, "mirror"),
        ({"flip": False}, PHOTOS, "none"),
        ({"augment": "none"}, PHOTOS, "none"),
        ({"test_time": "none"}, PHOTOS, "none"),
        ({}, dataclasses.replace(PHOTOS, channels=1), "none"),
        ({"flip": True}, dataclasses.replace(PHOTOS, channels=1), "mirror"),
        ({}, TABLE, "none"),
    ],
)
def test_mirror_images_are_predicted_where_training_showed_them_and_the_limit_allows_it(settings, facts, expected):
    assert resolve(plan(**settings), facts)[0].test_time == expected


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"model": "cnn", "stochastic_depth": 0.1},
            "stochastic_depth is 0.1 and model is 'cnn', which skips nothing; expected a model with branches to skip, "
            "such as resnet with depth 3; leave it out or change the model.",
        ),
        (
            {"model": "resnet", "options": {"channels": [8, 32]}, "stochastic_depth": 0.1},
            "stochastic_depth is 0.1 with depth 2; expected branches to skip; set depth to 3.",
        ),
    ],
)
def test_skipping_branches_that_are_not_there_is_refused(settings, sentence):
    with pytest.raises(InputError) as caught:
        resolve(plan(image_size=32, **settings), PHOTOS)
    assert str(caught.value) == sentence


def test_the_builder_is_told_of_stochastic_depth_where_it_has_it():
    resolved, _ = resolve(plan(model="vit", image_size=32, stochastic_depth=0.1), PHOTOS)
    assert model_kwargs(resolved, PHOTOS)["stochastic_depth"] == 0.1
    assert "stochastic_depth" not in model_kwargs(resolve(plan(model="cnn"), PHOTOS)[0], PHOTOS)


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(InputError, match=r"add up to 1\.2; expected a sum below 0\.95"):
        resolve(plan(validation_fraction=0.6, test_fraction=0.6), TABLE)


@pytest.mark.parametrize("options", [{"foo": 1}, {"hidden": ["a"]}, {"hidden": 3}])
def test_options_that_the_model_does_not_take_are_refused(options):
    with pytest.raises(
        InputError, match=r"^options are .*; expected arguments of mlp, such as \{ hidden = \[64, 32\] \}"
    ):
        resolve(plan(options=options), TABLE)
