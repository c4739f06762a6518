"""How the demonstration ends: the error week by week as a picture, what the loop came to, and where to look next.

The weeks are what the airport saw; all else is read from the resources when the traffic has ended.
"""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import Any

from .kubectl import Kubectl
from .weeks import each_once, mean_error

BAR = 40


class Report:
    """Collects the weeks and writes the ending."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._lines: list[dict[str, Any]] = []

    def add(self, week: dict[str, Any]) -> None:
        self._lines.append(week)

    def line(self, week: dict[str, Any]) -> str:
        """One week as it passes."""
        again = ", once more, as something is under way" if self._is_again() else ""
        by_version = ", ".join(
            f"version {version}: {seen['mae']:.1f} min" for version, seen in week["versions"].items()
        )
        return f"week of {week['from']}{again}: {week['rows']:,} flights; mean error of {by_version}"

    def _is_again(self) -> bool:
        return len(self._lines) > 1 and bool(self._lines[-2]["week"] == self._lines[-1]["week"])

    def ending(self, seconds: float) -> str:
        """What happened and where to look, for the terminal."""
        training = self._status("trainingjob")
        serving = self._status("modeldeployment")
        monitoring = self._status("driftmonitor")
        parts = [self._picture(), self._outcome(training, serving, monitoring), self._next_steps(), ""]
        return "\n" + "\n\n".join(parts) + f"Done in {int(seconds) // 60} min {int(seconds) % 60} s."

    def _status(self, kind: str) -> dict[str, Any]:
        found = self._kubectl.get(kind, "flights") or {}
        return dict(found.get("status", {}))

    def _picture(self) -> str:
        weeks = each_once(self._lines)
        worst = max((seen.mean for week in weeks for seen in week.versions.values()), default=1.0)
        lines = ["Mean error in minutes, week by week, of each version that answered (the digit):", ""]
        for week in weeks:
            again = f"  (flown {week.times} times, while something was under way)" if week.times > 1 else ""
            for version, seen in sorted(week.versions.items(), key=lambda item: int(item[0])):
                bar = version[-1] * max(1, round(BAR * seen.mean / worst))
                lines.append(f"  {week.start}  {seen.mean:5.1f}  {bar}{again}")
                again = ""
        return "\n".join(lines)

    def _outcome(self, training: dict[str, Any], serving: dict[str, Any], monitoring: dict[str, Any]) -> str:
        runs = training.get("runs", [])
        asked = [run for run in runs if run["trigger"] == "DriftMonitor"]
        promoted = [entry for entry in serving.get("history", []) if entry["outcome"] == "Promoted"]
        failed = self._lines[-1]["failed_requests"] if self._lines else 0
        flown = sum(week["rows"] for week in self._lines)
        lines = [
            f"{flown:,} predictions were asked for; {failed} requests were refused or failed and had to be repeated.",
            f"{len(runs)} versions were trained, {len(asked)} of them because the DriftMonitor asked.",
            f"{len(promoted)} were promoted; version {serving.get('stable', {}).get('version')} serves now.",
        ]
        lines.extend(self._before_and_after())
        if not asked:
            lines.append("The DriftMonitor asked for nothing: on this run the loop did not go round.")
        verdicts = [verdict["state"] for verdict in monitoring.get("verdicts", [])]
        if verdicts:
            lines.append(f"Verdicts standing at the end: {', '.join(verdicts)}.")
        return "\n".join(lines)

    def _before_and_after(self) -> list[str]:
        """For each change of version: both versions' error on the weeks in which both answered."""
        lines = []
        weeks = each_once(self._lines)
        versions = sorted({int(version) for week in weeks for version in week.versions})
        for old, new in pairwise(str(version) for version in versions):
            shared = [week for week in weeks if {old, new} <= week.versions.keys()]
            if shared:
                before, after = (mean_error(shared, version) for version in (old, new))
                lines.append(
                    f"Version {old} to {new}: mean error {before:.1f} -> {after:.1f} min "
                    f"in the {'week' if len(shared) == 1 else f'{len(shared)} weeks'} in which both answered."
                )
        return lines

    def _next_steps(self) -> str:
        kubectl = shlex.join(self._kubectl.argv())
        tensors = (
            '{"inputs": [{"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]}, '
            '{"name": "origin", "datatype": "BYTES", "shape": [1], "data": ["EWR"]}, '
            '{"name": "dest", "datatype": "BYTES", "shape": [1], "data": ["SFO"]}, '
            '{"name": "distance", "datatype": "FP64", "shape": [1], "data": [2565]}, '
            '{"name": "hour", "datatype": "FP64", "shape": [1], "data": [9]}, '
            '{"name": "weekday", "datatype": "FP64", "shape": [1], "data": [2]}]}'
        )
        return "\n".join(
            [
                "Look around:",
                f"  alias k={shlex.quote(kubectl)}",
                "  k get perennial",
                "  k describe driftmonitor flights",
                "  k get trainingjob flights -o yaml",
                "How long from Newark to San Francisco, on a Wednesday at nine?",
                "  k port-forward service/flights 8080 >/dev/null & sleep 1",
                f"  curl --silent localhost:8080/v2/models/flights/infer --data '{tensors}'",
                "Ask for a new version by hand, and watch it go out while there is traffic:",
                "  k annotate trainingjob flights perennial.dev/run=$(date +%s) --overwrite; k get perennial --watch",
                "Take it all away:",
                "  make demo-down",
            ]
        )
