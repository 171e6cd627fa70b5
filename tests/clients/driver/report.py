"""Prints the results."""

COLUMNS = ("client", "mode", "proxy signature", "client's own signature", "passed", "failed", "skipped")


def failures(runs):
    for run in runs:
        for operation, wrong in run.results.items():
            if wrong is not None:
                print(f"FAILED {run.label} | {operation}: {wrong}")


def table(runs):
    """Prints a line for each run, with the reasons of skipped operations as numbers; returns the counts of passed and failed."""
    reasons = {}
    rows = [COLUMNS]
    for run in runs:
        counts = [sum(wrong is None for wrong in run.results.values()), sum(wrong is not None for wrong in run.results.values())]
        marks = sorted({reasons.setdefault(reason, len(reasons) + 1) for reason in run.skipped.values()})
        skipped = str(len(run.skipped)) + "".join(f" [{mark}]" for mark in marks)
        rows.append((run.client, run.mode, run.through, run.own, *map(str, counts), skipped))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for reason, mark in reasons.items():
        print(f"[{mark}] {reason}")
    return sum(int(row[4]) for row in rows[1:]), sum(int(row[5]) for row in rows[1:])


def needless(runs):
    """For --try-skipped: returns the reasons whose skipped operations all passed."""
    by_reason = {}
    for run in runs:
        for operation, wrong in run.tried.items():
            by_reason.setdefault(run.skipped[operation], []).append((run, operation, wrong))
    lines = []
    for reason, tries in by_reason.items():
        passed = [f"{run.label} | {operation}" for run, operation, wrong in tries if wrong is None]
        print(f"tried: {len(tries) - len(passed)} of {len(tries)} fail: {reason}" + "".join(f"\n    passes: {line}" for line in passed[:5]))
        if len(passed) == len(tries):
            lines.append(f"skips.json: all skipped operations pass: {reason}")
    return lines
