"""The charts of a report."""

from collections.abc import Iterator

from compliance import charts
from compliance.charts import Line
from compliance.report import Report
from compliance.report_fold import Age, Night
from core.clock import utc_day

__all__ = ["ages", "flow", "nights"]


def ages(report: Report) -> str:
    """For each stream that had rows, the age of its oldest day against the limit."""
    by_stream: dict[str, list[Age]] = {}
    for age in report.fold.ages:
        by_stream.setdefault(age.stream, []).append(age)
    return "".join(_age(stream, found) for stream, found in by_stream.items() if any(age.oldest for age in found))


def _age(stream: str, found: list[Age]) -> str:
    drawn = [Line("oldest day with rows", [age.age if age.oldest else None for age in found]), Line("limit", [age.limit for age in found])]
    worst = max(age.age for age in found)
    told = f"The oldest day with rows was at most {worst:.1f} days old at a day's end; the table below has every day."
    return charts.lines(f"Age of what {stream} held, and its limit", told, drawn, [age.day.isoformat() for age in found], "days")


def nights(report: Report) -> str:
    """Each job and day: run, failed, missed, or not due."""
    labels = [day.isoformat() for day in report.span.days]
    rows = {job: [*_cells(report, found)] for job, found in report.fold.nights.items()}
    missed = sum(kind == "missed" for kinds in rows.values() for kind in kinds)
    return charts.cells("Nights by job", f"A row for each job, a cell for each day; {missed} missed.", rows, labels) if rows else ""


def _cells(report: Report, found: list[Night]) -> Iterator[str]:
    by_day = {utc_day(night.due): night for night in found if night.due <= report.span.until}
    for day in report.span.days:
        night = by_day.get(day)
        if night is None:
            yield "no"
        else:
            good = night.runs["done"] + night.runs["nothing due"]
            yield "run" if good else "failed" if night.runs else "missed"


def flow(report: Report) -> str:
    """Rows that came, and rows and lines that were destroyed or erased, by the day of the event."""
    days, found = report.span.days, report.fold.flow
    drawn = {name: [found[day][name] if day in found else 0 for day in days] for name in ("stored", "destroyed", "erased")}
    totals = ", ".join(f"{sum(values):,} {name}" for name, values in drawn.items())
    return charts.bars("Rows stored, destroyed and erased", f"In all {totals}.", drawn, [day.isoformat() for day in days], "rows a day")
