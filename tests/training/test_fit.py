import numpy as np
import pytest

from trimtab import numpy_nn as nn
from trimtab.errors import TrainingError
from trimtab.training.batches import channel_statistics
from trimtab.training.fit import fit_classifier
from trimtab.training.watch import Watch


def make_network():
    convolution = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)]
    return nn.Sequential(*convolution, nn.Flatten(), nn.Linear(128, 3))


@pytest.fixture(scope="module")
def data(pictures):
    return pictures[0].inputs, pictures[0].labels


def fit(data, network=None, **changes):
    settings = {"steps": 60, "threads": 1, "verbose": False, **changes}
    return fit_classifier(network or make_network(), *data, **settings)


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_it_learns_pictures_and_leaves_the_network_with_its_best_weights(data):
    network = make_network()
    trained = fit(data, network, steps=120, augment="light")
    assert max(row["validation_accuracy"] for row in trained.history) > 0.9
    assert same(network.state_dict(), trained.arrays)
    mean, std = channel_statistics(data[0])
    logits = network(((data[0] / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2))
    assert (logits.argmax(1) == data[1]).mean() > 0.9
    assert network.backward(np.ones_like(logits)).shape == (160, 1, 8, 8)


@pytest.mark.parametrize(
    "setting",
    [{"l1": 0.1}, {"l2": 0.1}, {"ema": 0.9}, {"flip": True}, {"mixup": 0.5}, {"cutmix": 0.5}],
    ids=lambda setting: next(iter(setting)),
)
def test_each_setting_is_heard(data, setting):
    settings = {"steps": 8, "augment": "light"}
    assert not same(fit(data, **settings).arrays, fit(data, **settings, **setting).arrays)


def test_it_learns_rows_of_numbers(data):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((300, 4), np.float32)
    labels = (features[:, 0] > features[:, 1]).astype(np.int64)
    network = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    trained = fit((features, labels), network, steps=200, optimizer="sgd", learning_rate=0.1)
    assert trained.history[-1]["validation_accuracy"] > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_one_others(data):
    first, second, third = (fit(data, seed=seed).arrays for seed in (0, 0, 1))
    assert same(first, second)
    assert not same(first, third)


def test_a_killed_fit_goes_on_to_the_same_bits(data, tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.training.loop._CHECKPOINT_SECONDS", 0.0)

    class Killed(BaseException):
        pass

    def die(done, total):
        if done == 40:
            raise Killed

    with pytest.raises(Killed):
        fit(data, checkpoints=tmp_path, watch=Watch(on_step=die))
    assert same(fit(data, checkpoints=tmp_path).arrays, fit(data).arrays)


def test_seconds_limit_a_fit(data):
    trained = fit(data, steps=None, seconds=0.6)
    assert trained.seconds < 1.2
    assert trained.history[-1]["learning_rate"] < 0.1 * 3e-3


def test_validation_rows_may_be_given(data):
    inputs, labels = data
    trained = fit((inputs[:100], labels[:100]), validation=(inputs[100:], labels[100:]))
    assert len(trained.history) >= 8


def test_a_line_is_printed_for_each_validation(data, capsys):
    trained = fit(data, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(trained.history)
    assert lines[0].startswith("step ")
    assert "validation loss" in lines[0]


@pytest.mark.parametrize(("steps", "seconds"), [(None, None), (5, 1.0), (0, None)])
def test_exactly_one_length_is_needed(data, steps, seconds):
    with pytest.raises(ValueError, match="expected one of them, above 0; give the other up"):
        fit(data, steps=steps, seconds=seconds)


def test_labels_must_be_as_many_as_inputs(data):
    with pytest.raises(ValueError, match="there are 160 inputs and 159 labels; expected one label per input"):
        fit((data[0], data[1][:-1]))


def test_a_loss_that_is_no_number_says_what_to_do(data):
    with pytest.raises(TrainingError, match="lower it with --learning-rate"):
        fit(data, optimizer="sgd", learning_rate=1e30, schedule="constant")
