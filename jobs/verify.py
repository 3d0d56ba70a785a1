"""Verify: the nightly proof that accounts balance and nothing is left over."""

from compliance.accounts import Report, Stores, verify
from jobs.context import Context, Outcome
from jobs.recovery import recover

__all__ = ["check", "run_verify"]


def check(ctx: Context, full: bool = False) -> Report:
    """Resume what a crash left, then verify."""
    recover(ctx)
    return verify(Stores(ctx.control, ctx.ledger, ctx.keys, ctx.hot, ctx.archive, ctx.checkpoints), full)


def run_verify(ctx: Context, dry_run: bool = False) -> Outcome:
    """Verify as a job: fails when anything is wrong. A dry run does nothing, since verifying destroys nothing."""
    if dry_run:
        return Outcome("verify", "planned")
    report = check(ctx)
    faults = [f"{account.segment}: {account.fault}" for account in report.accounts if not account.ok]
    chain = [f"ledger: {report.chain.fault}"] if report.chain.fault else []
    problems = [*chain, *report.evidence, *report.faults, *faults, *report.residue]
    figures = {"days": len(report.accounts), "events": report.chain.events, "residue": len(report.residue)}
    return Outcome("verify", "failed" if problems else "done", (), figures, tuple(problems))
