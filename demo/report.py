"""How the demonstration ends: the error week by week as a picture, what the loop came to, and where to look next.

The weeks are what the airport saw; all else is read from the resources when the traffic has ended.
"""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import Any

from .kubectl import Kubectl

BAR = 40


class Report:
    """Collects the weeks and writes the ending."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._weeks: list[dict[str, Any]] = []

    def add(self, week: dict[str, Any]) -> None:
        self._weeks.append(week)

    def line(self, week: dict[str, Any]) -> str:
        """One week as it passes."""
        by_version = ", ".join(
            f"version {version}: {seen['mae']:.1f} min" for version, seen in week["versions"].items()
        )
        return f"week of {week['from']}: {week['rows']:,} flights; mean error of {by_version}"

    def ending(self, seconds: float) -> str:
        """What happened and where to look, for the terminal."""
        training = self._status("trainingjob")
        serving = self._status("modeldeployment")
        monitoring = self._status("driftmonitor")
        parts = [self._picture(), self._outcome(training, serving, monitoring), self._next_steps(serving), ""]
        return "\n" + "\n\n".join(parts) + f"Done in {int(seconds) // 60} min {int(seconds) % 60} s."

    def _status(self, kind: str) -> dict[str, Any]:
        found = self._kubectl.get(kind, "flights") or {}
        return dict(found.get("status", {}))

    def _picture(self) -> str:
        worst = max((week["mae"] for week in self._weeks), default=1.0)
        lines = ["Mean error in minutes, week by week (the digit is the version that answered most):", ""]
        for week in self._weeks:
            version = max(week["versions"], key=lambda v: week["versions"][v]["rows"])
            bar = version[-1] * max(1, round(BAR * week["mae"] / worst))
            lines.append(f"  {week['from']}  {week['mae']:5.1f}  {bar}")
        return "\n".join(lines)

    def _outcome(self, training: dict[str, Any], serving: dict[str, Any], monitoring: dict[str, Any]) -> str:
        runs = training.get("runs", [])
        asked = [run for run in runs if run["trigger"] == "DriftMonitor"]
        promoted = [entry for entry in serving.get("history", []) if entry["outcome"] == "Promoted"]
        failed = self._weeks[-1]["failed_requests"] if self._weeks else 0
        flown = sum(week["rows"] for week in self._weeks)
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
        """For each change of version: the error in the last whole week before and the first whole week after."""
        lines = []
        whole = [week for week in self._weeks if len(week["versions"]) == 1]
        for before, after in pairwise(whole):
            (old,), (new,) = before["versions"], after["versions"]
            if old != new:
                lines.append(
                    f"Version {old} to {new}: mean error {before['mae']:.1f} min in the week of {before['from']}, "
                    f"{after['mae']:.1f} min in the week of {after['from']}."
                )
        return lines

    def _next_steps(self, serving: dict[str, Any]) -> str:
        kubectl = shlex.join(self._kubectl.argv())
        url = serving.get("url", "http://flights:8080")
        tensors = (
            '{"inputs": [{"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]}, '
            '{"name": "origin", "datatype": "BYTES", "shape": [1], "data": ["EWR"]}, '
            '{"name": "dest", "datatype": "BYTES", "shape": [1], "data": ["SFO"]}, '
            '{"name": "distance", "datatype": "FP64", "shape": [1], "data": [2565]}, '
            '{"name": "hour", "datatype": "FP64", "shape": [1], "data": [9]}, '
            '{"name": "weekday", "datatype": "FP64", "shape": [1], "data": [2]}]}'
        )
        ask = (
            "import urllib.request as r; "
            f"print(r.urlopen(r.Request('{url}/v2/models/flights/infer', b'''{tensors}''')).read().decode())"
        )
        return "\n".join(
            [
                "Look around:",
                f"  alias k={shlex.quote(kubectl)}",
                "  k get perennial",
                "  k describe driftmonitor flights",
                "  k get trainingjob flights -o yaml",
                "How long from Newark to San Francisco, on a Wednesday at nine?",
                f"  k exec airport -- python3 -c {shlex.quote(ask)}",
                "Ask for a new version by hand, and watch it go out while there is traffic:",
                "  k annotate trainingjob flights perennial.dev/run=$(date +%s) --overwrite; k get perennial --watch",
                "Take it all away:",
                "  make demo-down",
            ]
        )
