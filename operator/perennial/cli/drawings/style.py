"""The colours of pages and pictures: Okabe and Ito's, which the colour-blind tell apart, on light, on dark and on
paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --card: #f6f7f8; --ink: #1b1f24; --faint: #5d6670; --line: #d5d9de; --grid: #e6e9ec;
  --before: #9aa2ab; --now: #0072b2; --good: #00795a; --busy: #a15c00; --bad: #c04a00; --minor: #b8860b;
  --shade1: #cfe3f1; --shade2: #8fc0e0; --shade3: #3c8fc4; --shade4: #00517f; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1d2226; --ink: #e8eaed; --faint: #a3abb4; --line: #39414a; --grid: #2a3138;
  --before: #79828c; --now: #56b4e9; --good: #2bc29b; --busy: #e69f00; --bad: #ff8a4c; --minor: #d9b13b;
  --shade1: #17364a; --shade2: #1f5d84; --shade3: #3a92c8; --shade4: #9bd6fb; } }
@media print { :root { color-scheme: light;
  --paper: #ffffff; --card: #ffffff; --ink: #000000; --faint: #444a50; --line: #b9bec4; --grid: #dfe3e6;
  --before: #9aa2ab; --now: #0072b2; --good: #00795a; --busy: #a15c00; --bad: #c04a00; --minor: #b8860b;
  --shade1: #cfe3f1; --shade2: #8fc0e0; --shade3: #3c8fc4; --shade4: #00517f; } }
svg { font: 12px system-ui, sans-serif; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
svg text { fill: var(--ink); } svg text.faint { fill: var(--faint); }
svg .paper { fill: var(--paper); } svg .lane { fill: var(--card); }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--line); }
svg .before { fill: var(--before); } svg .now { fill: var(--now); }
svg .curve { fill: none; stroke: var(--now); stroke-width: 2; }
svg .reference { fill: none; stroke: var(--before); stroke-width: 1.5; }
svg .limit { fill: none; stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 6 4; }
svg .limit-text { fill: var(--bad); }
svg .Harm, svg .DataFault { fill: var(--bad); }
svg .Drift, svg .AnchorDrift, svg .TrainServeSkew, svg .HarmSuspected { fill: var(--busy); }
svg .MinorDrift { fill: var(--minor); } svg .mark { fill: var(--ink); }
svg .shade1 { fill: var(--shade1); } svg .shade2 { fill: var(--shade2); }
svg .shade3 { fill: var(--shade3); } svg .shade4 { fill: var(--shade4); }
"""
"""For a page's `style` element, or a picture's own."""
