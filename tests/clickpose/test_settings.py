"""Settings as they are typed: names lead to them, values are of their kind, and what is wrong is named."""

import pytest

from clickpose.commands.settings import change_settings
from clickpose.errors import InvalidConfig
from clickpose.training.config import TrainConfig, demo_training


@pytest.mark.parametrize(
    "change, read",
    [
        ("num_denoised=0", lambda config: config.num_denoised == 0),
        ("learning_rate=1e-3", lambda config: config.learning_rate == 1e-3),
        ("precision=bfloat16", lambda config: config.precision == "bfloat16"),
        ("checkpoint_activations=true", lambda config: config.checkpoint_activations is True),
        ("scenes_per_epoch=12", lambda config: config.scenes_per_epoch == 12),
        ("feedback.hold=none", lambda config: config.feedback.hold == "none"),  # a word here
        ("feedback.max_rounds=none", lambda config: config.feedback.max_rounds is None),  # nothing here
        ("denoising.inversion=0.4", lambda config: config.denoising.inversion == 0.4),
        ("losses.weights.class=3", lambda config: config.losses.weights["class"] == 3.0),
        ("augment.short_sides_px=[64, 96]", lambda config: config.augment.short_sides_px == (64, 96)),
    ],
)
def test_a_setting_is_found_by_its_name(change: str, read) -> None:
    config = change_settings(TrainConfig(), [change])
    assert read(config)
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_settings_add_up_and_the_last_word_counts() -> None:
    config = change_settings(TrainConfig(), ["feedback.hold=all", "epochs=3", "feedback.max_clicks=2", "epochs=4"])
    assert (config.feedback.hold, config.feedback.max_clicks, config.epochs) == ("all", 2, 4)
    assert change_settings(TrainConfig(), []) == TrainConfig()


def test_the_parts_of_a_choice_are_those_of_what_is_chosen() -> None:
    config = change_settings(demo_training(), ["augment.canvas_sizes_px=[[64, 96]]"])
    assert config.augment.canvas_sizes_px == ((64, 96),)
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "change, said",
    [
        ("epochs", "'epochs' is not a setting: write name=value"),
        ("epoch=3", "there is no setting 'epoch'; there are epochs, batch_size"),
        ("feedback.hodl=all", "there is no setting 'hodl'; there are probability, repeats"),
        ("losses.weights.klass=3", "there is no setting 'klass'; there are class, box"),
        ("epochs.first=3", "there is no setting 'first'; it has no parts"),
        ("epochs=ten", "epochs=ten: Input should be a valid integer"),
        ("epochs=1.5", "valid integer"),
        ("checkpoint_activations=yes", "valid boolean"),
        ("feedback.hold=some", "hold is 'some', must be one of none, current, all"),
        ("num_denoised=-1", "num_denoised is -1"),
        ("feedback=off", "set its parts one by one: probability=..."),
        ("augment={}", "set its parts one by one: short_sides_px=..."),
        ("augment.max_pictures=1", "there is no setting 'max_pictures'; there are short_sides_px"),  # but in scenes
    ],
)
def test_what_cannot_be_set_is_refused_by_name(change: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        change_settings(TrainConfig(), [change])
