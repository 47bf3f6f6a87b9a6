"""The same rates per group by aequitas, aif360 and holisticai, each in its own environment, beside auditkit.

Run with the interpreter of each environment: `python peers.py NAME=PYTHON ...`. Each counts the same million rows of
UCI Adult by `race`, and must give auditkit's selection and true positive rates before its time counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROWS = 1_000_000

SCRIPTS = {
    "aequitas": """
from aequitas.group import Group
frame = pd.DataFrame({"score": rows["prediction"], "label_value": rows["label"], "race": rows["race"].astype(str)})
def call():
    table, _ = Group().get_crosstabs(frame, attr_cols=["race"])
    return {r.attribute_value: [r.pprev, r.tpr] for r in table.itertuples()}
""",
    "aif360": """
from aif360.sklearn.metrics import selection_rate
from sklearn.metrics import recall_score
race = rows["race"].astype(str).to_numpy()
y = pd.Series(rows["label"].to_numpy(), index=pd.Index(race, name="race"))
p = pd.Series(rows["prediction"].to_numpy(), index=y.index)
def call():
    found = {}
    for group in sorted(set(race)):
        a, b = y.loc[group], p.loc[group]
        found[group] = [float(selection_rate(a, b, pos_label=1)), float(recall_score(a, b))]
    return found
""",
    "holisticai": """
from holisticai.bias.metrics import confusion_matrix, success_rate
race = rows["race"].astype(str).to_numpy()
y, p = rows["label"].to_numpy(), rows["prediction"].to_numpy()
from sklearn.metrics import recall_score
def call():
    found = {}
    for group in sorted(set(race)):
        mask = race == group
        found[group] = [float(success_rate(mask, ~mask, p)["sr_a"]), float(recall_score(y[mask], p[mask]))]
    return found
""",
    "auditkit": """
from auditkit.stats.counts import tally
from auditkit.stats.rates import successes_and_trials
from auditkit.data.dataset import factorize
frame = rows.assign(race=rows["race"].astype(str).astype(object))
def call():
    codes, words = factorize(frame["race"])
    names = tuple((word,) for word in words)
    counts = tally(("race",), names, codes, frame["label"].to_numpy(), frame["prediction"].to_numpy(), ("0", "1"))
    rates = [s / n for s, n in (successes_and_trials(counts.table, name) for name in
        ("selection_rate", "true_positive_rate"))]
    return {group[0]: [float(rate[place]) for rate in rates] for place, group in enumerate(counts.groups)}
""",
}
TIMED = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
from importlib.metadata import version
rows = pd.read_csv(sys.argv[1])
{script}
call()
best = min((lambda s: (call(), time.process_time() - s)[1])(time.process_time()) for _ in range(3))
print("RESULT" + json.dumps({{"seconds": best, "values": call(), "version": version("{name}")}}))
"""


def timed(name: str, python: str, rows: Path) -> dict[str, Any]:
    script = TIMED.format(script=SCRIPTS[name], name=name)
    done = subprocess.run([python, "-c", script, str(rows)], capture_output=True, text=True)
    if done.returncode != 0:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.rpartition("RESULT")[2])
    return found


def main() -> None:
    from common import resampled, write

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        resampled(ROWS)[["race", "label", "prediction"]].to_csv(rows, index=False)
        ours = timed("auditkit", sys.executable, rows)
        numbers: dict[str, Any] = {"rows": ROWS, "column": "race", "auditkit_seconds": round(ours["seconds"], 4)}
        for word in sys.argv[1:]:
            name, _, python = word.partition("=")
            theirs = timed(name, python, rows)
            if "failed" not in theirs:
                for group, values in ours["values"].items():
                    for mine, other in zip(values, theirs["values"][group], strict=True):
                        assert abs(mine - other) < 1e-6, (name, group, mine, other)
                seconds = theirs.pop("seconds")
                theirs = {
                    "version": theirs["version"],
                    "seconds": round(seconds, 3),
                    "ratio": round(seconds / ours["seconds"], 1),
                }
            numbers[name] = theirs
    write("peers", numbers)


if __name__ == "__main__":
    main()
