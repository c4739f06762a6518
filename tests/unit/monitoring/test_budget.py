"""What all monitors of an installation may ask for together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from perennial.api.resources import DRIFTMONITORS
from perennial.api.timestamp import to_text
from perennial.kube.cache import Caches
from perennial.monitoring.budget import Budget
from perennial.monitoring.objections import Brake
from perennial.monitoring.requests import DAY

NOW = 1_700_000_000.0
FIRST = {"metadata": {"uid": "u0"}}


def asked(seconds_ago: float, id: str, state: str = "Taken", action: str = "Retrain") -> dict[str, Any]:
    made = to_text(datetime.fromtimestamp(NOW - seconds_ago, UTC))
    return {
        "id": id,
        "action": action,
        "trainingJob": "flights",
        "model": "a" * 64,
        "reason": "Harm",
        "createdAt": made,
        "expiresAt": made,
        "state": state,
    }


def budget(*monitors: Any, actions: bool = True, limit: int | None = 2) -> Budget:
    caches = Caches()
    made = Budget(caches, actions=actions, retrains_a_day=limit)
    for number, requests in enumerate(monitors):
        caches.of(DRIFTMONITORS).store(
            {
                "apiVersion": DRIFTMONITORS.api_version,
                "kind": DRIFTMONITORS.kind,
                "metadata": {"namespace": "team-a", "name": f"m{number}", "uid": f"u{number}", "resourceVersion": "1"},
                "status": {"requests": requests},
            }
        )
    return made


def test_a_day_of_all_monitors_is_counted() -> None:
    assert budget([asked(60, "a")], []).brake(NOW) is None
    brake = budget([asked(60, "a")], [asked(7200, "b", "Pending"), asked(DAY + 1, "c")]).brake(NOW)
    assert brake is not None
    assert brake.until == NOW - 7200 + DAY
    assert "2 retrains a day" in brake.reason
    assert brake.only == "Retrain"


def test_what_became_no_run_does_not_count() -> None:
    became_none = [asked(60, "a", "Expired"), asked(60, "b", "Superseded"), asked(60, "d", action="Rollback")]
    assert budget([*became_none, asked(60, "c")]).brake(NOW) is None


def test_more_than_allowed_waits_until_fewer_are_left() -> None:
    """The limit may have been lowered."""
    brake = budget([asked(100 * n, str(n)) for n in range(1, 5)]).brake(NOW)
    assert brake is not None
    assert brake.until == NOW - 200 + DAY
    assert budget([asked(100 * n, str(n)) for n in range(1, 5)]).brake(brake.until) is None


def test_a_decision_counts_before_its_status_is_written_and_once() -> None:
    made = budget([asked(60, "a")])
    made.reserve(FIRST, {"requests": [asked(0, "b")]})
    assert made.brake(NOW) is not None
    assert made.brake(NOW + 61) is None  # It was never carried out.
    made = budget([asked(60, "a")])
    made.reserve(FIRST, {"requests": [asked(60, "a")]})
    assert made.brake(NOW) is None


def test_without_a_limit_nothing_is_held_and_the_switch_holds_everything() -> None:
    many = [asked(n, str(n)) for n in range(100)]
    assert budget(many, limit=None).brake(NOW) is None
    switched_off = budget(actions=False, limit=None).brake(NOW)
    assert isinstance(switched_off, Brake)
    assert (switched_off.until, switched_off.only) == (None, None)


def test_nonsense_in_a_status_is_passed_over() -> None:
    assert budget("soon", [{"id": 3}], [asked(60, "a")]).brake(NOW) is None
