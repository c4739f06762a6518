"""How the demonstration ends, of weeks some of which were flown more than once."""

from __future__ import annotations

from typing import Any

from demo.kubectl import Kubectl
from demo.report import Report


class Empty(Kubectl):
    """A cluster that nothing is left on."""

    def __init__(self) -> None:
        pass

    def get(self, *_: Any, **__: Any) -> None:
        return None

    def argv(self, *_: str) -> list[str]:
        return ["kubectl"]


def week(start: str, **versions: tuple[int, float]) -> dict[str, Any]:
    rows = sum(rows for rows, _ in versions.values())
    told = {version[1:]: {"rows": rows, "mae": mae} for version, (rows, mae) in versions.items()}
    mae = sum(rows * mae for rows, mae in versions.values()) / rows
    return {"week": start, "from": start, "rows": rows, "mae": mae, "versions": told, "failed_requests": 0}


def test_a_week_that_was_flown_again_is_drawn_and_counted_once() -> None:
    report = Report(Empty())
    for flown in (
        week("2013-05-01", v9=(100, 8.0)),
        week("2013-05-08", v9=(100, 12.0)),
        week("2013-05-08", v9=(50, 12.0), v10=(50, 8.0)),
        week("2013-05-08", v9=(50, 16.0), v10=(150, 4.0)),
        week("2013-05-15", v10=(100, 6.0)),
    ):
        report.add(flown)
    said = report.ending(60)
    assert "  2013-05-01    8.0  " + 25 * "9" + "\n" in said
    assert "  2013-05-08   13.0  " + 40 * "9" + "  (flown 3 times, while something was under way)\n" in said
    assert "  2013-05-08    5.0  " + 15 * "0" + "\n" in said
    assert said.count("2013-05") == 4
    assert "600 predictions were asked for" in said
    assert "Version 9 to 10: mean error 13.0 -> 5.0 min in the week in which both answered." in said
