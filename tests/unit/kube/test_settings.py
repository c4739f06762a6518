"""Settings are read from the environment, and what is wrong is named."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.settings import Settings, SettingsError


def test_an_empty_environment_is_enough() -> None:
    settings = Settings.from_environment({})
    assert (settings.workers, settings.store_uri, settings.leader_election) == (16, None, True)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("NAMESPACE", "ops", "operator_namespace", "ops"),
        ("POD_LABELS", '{"app": "x"}', "operator_pod_labels", {"app": "x"}),
        ("DEPLOYMENT", "perennial", "operator_deployment", "perennial"),
        ("POD_NAME", "perennial-abc", "identity", "perennial-abc"),
        ("WATCH_NAMESPACES", "a, b,", "watch_namespaces", ("a", "b")),
        ("WATCH_NAMESPACES", "", "watch_namespaces", ()),
        ("ESTIMATORS", "lightgbm.LGBMClassifier,mine.Model", "estimators", ("lightgbm.LGBMClassifier", "mine.Model")),
        ("STORE_URI", "s3://models/{namespace}", "store_uri", "s3://models/{namespace}"),
        ("STORE_URI", "", "store_uri", None),
        ("STORE_SECRET", "models", "store_secret", "models"),
        ("WORKERS", "4", "workers", 4),
        ("RESYNC_SECONDS", "60.5", "resync_seconds", 60.5),
        ("LEADER_ELECTION", "false", "leader_election", False),
        ("ACTIONS", "false", "actions", False),
        ("ALERTMANAGER_URL", "https://alerts.example/am", "alertmanager_url", "https://alerts.example/am"),
        ("RETRAINS_A_DAY", "5", "retrains_a_day", 5),
        ("RETRAINS_A_DAY", "0", "retrains_a_day", None),
    ],
)
def test_a_variable_sets_a_field(name: str, value: str, field: str, expected: Any) -> None:
    assert getattr(Settings.from_environment({f"PERENNIAL_{name}": value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORKERS", "many", "PERENNIAL_WORKERS: 'many' is not a number"),
        ("WORKERS", "0", "PERENNIAL_WORKERS: 0 is less than 1"),
        ("WORKERS", "nan", "less than 1"),
        ("LEADER_ELECTION", "yes", "is not one of true, false"),
        ("LOG_FORMAT", "xml", "is not one of text, json"),
        ("ALERTMANAGER_URL", "alertmanager:9093", "is not an address"),
        ("POD_LABELS", "a=b", "is not a JSON object of strings"),
        ("POD_LABELS", "[1]", "is not a JSON object of strings"),
        ("STORE_ACCESS_MODE", "ReadOnly", "is not one of ReadWriteOnce"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_environment({f"PERENNIAL_{name}": value})
