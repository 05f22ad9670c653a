import numpy as np
import pytest

from trimtab import numpy_nn as nn
from trimtab.errors import TrainingError
from trimtab.training.fit_gan import fit_gan
from trimtab.training.watch import Watch

CENTERS = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)


@pytest.fixture(scope="module")
def data():
    """Four clusters in the plane, a class each."""
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=400)
    return CENTERS[labels] + 0.1 * rng.standard_normal((400, 2), np.float32), labels


def dense(width_in, width_out):
    return nn.Sequential(
        nn.Linear(width_in, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, width_out)
    )


def fit(data, generator=None, discriminator=None, **changes):
    generator, discriminator = generator or dense(8, 2), discriminator or dense(6, 1)
    settings = {"labels": data[1], "latent_features": 4, "steps": 60, "threads": 1, "verbose": False, **changes}
    return generator, fit_gan(generator, discriminator, data[0], **settings)


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_the_generator_learns_to_make_each_class(data):
    generator, _ = fit(data, steps=1000)
    rng = np.random.default_rng(1)
    for label, center in enumerate(CENTERS):
        latent = rng.standard_normal((200, 4), np.float32)
        made = generator(np.concatenate([latent, np.tile(np.eye(4, dtype=np.float32)[label], (200, 1))], axis=1))
        assert np.abs(made.mean(axis=0) - center).max() < 0.15
        assert 0.02 < made.std() < 1.2


def test_pictures_are_made_by_convolutions_without_labels():
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((40, 1, 8, 8), np.float32)
    generator = nn.Sequential(
        nn.Linear(4, 64), nn.Unflatten(1, (4, 4, 4)), nn.ReLU(), nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(64, 1)
    )
    _, trained = fit((pictures, None), generator, discriminator, steps=5, batch_size=8)
    assert trained.steps == 5
    assert generator(rng.standard_normal((3, 4), np.float32)).shape == (3, 1, 8, 8)


def test_pictures_with_labels_get_a_channel_per_class():
    rng = np.random.default_rng(0)
    pictures, labels = rng.standard_normal((40, 1, 4, 4), np.float32), np.arange(40) % 2
    generator = nn.Sequential(nn.Linear(6, 16), nn.Unflatten(1, (1, 4, 4)))
    discriminator = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1))
    _, trained = fit((pictures, labels), generator, discriminator, steps=3, batch_size=8)
    assert trained.steps == 3


def test_the_same_seed_gives_the_same_bits_and_another_one_others(data):
    first, second, third = (fit(data, seed=seed)[0].state_dict() for seed in (0, 0, 1))
    assert same(first, second)
    assert not same(first, third)


def test_a_killed_game_goes_on_to_the_same_bits(data, tmp_path):
    class Killed(BaseException):
        pass

    def die(done, total):
        if done == 41:
            raise Killed

    with pytest.raises(Killed):
        fit(data, checkpoints=tmp_path, watch=Watch(on_step=die))
    resumed, trained = fit(data, checkpoints=tmp_path)
    whole, _ = fit(data)
    assert same(resumed.state_dict(), whole.state_dict())
    assert [row["step"] for row in trained.history] == list(range(3, 61, 3))


def test_a_finished_game_is_not_played_on(data, tmp_path):
    first, _ = fit(data, checkpoints=tmp_path)
    second, trained = fit(data, checkpoints=tmp_path)
    assert trained.steps == 60
    assert same(first.state_dict(), second.state_dict())


def test_seconds_and_the_user_end_a_game(data):
    _, timed = fit(data, steps=None, seconds=0.3)
    assert timed.history[-1]["seconds"] < 0.8
    seen = []
    _, stopped = fit(
        data, watch=Watch(on_step=lambda done, total: seen.append(done), wants_to_stop=lambda: len(seen) == 7)
    )
    assert stopped.steps == 7


def test_a_line_is_printed_at_intervals(data, capsys):
    fit(data, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[0].startswith("step      3   discriminator ")


def test_a_discriminator_that_is_not_piecewise_linear_is_refused(data):
    with pytest.raises(TypeError, match=r"Tanh\(\) is not piecewise linear"):
        fit(data, discriminator=nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_losses_that_are_no_numbers_say_what_to_do(data):
    with pytest.raises(TrainingError) as caught:
        fit(data, learning_rate=1e30)
    assert str(caught.value) == (
        "the adversarial training diverged: after 3 steps a loss is not a number; expected losses that stay finite; "
        "lower the learning rate or raise the penalty."
    )
