import re

import pytest

from trimtab.training import AUGMENTATIONS
from trimtab.training.augmentation import LEVELS, Policy, policy_of


def test_every_level_of_a_recipe_has_a_policy():
    assert tuple(LEVELS) == AUGMENTATIONS


def test_each_level_does_at_least_what_the_one_before_does():
    assert LEVELS["none"] == Policy()
    for weaker, stronger in zip(list(LEVELS.values())[:-1], list(LEVELS.values())[1:], strict=True):
        assert all(getattr(stronger, name) >= getattr(weaker, name) for name in Policy.__dataclass_fields__)
        assert stronger != weaker


def test_an_unknown_level_is_refused():
    words = "there is no augmentation 'auto'; expected one of none, light, strong; pick one."
    with pytest.raises(ValueError, match=re.escape(words)):
        policy_of("auto")
