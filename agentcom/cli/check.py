"""`agentcom check`: whether something is wrong with the pool, for cron, monitoring and people in a hurry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import anyio
import typer

from agentcom.broker.connection import Connections
from agentcom.cli.context import EXIT_FAILED, EXIT_OK, Context, context_of, end, run
from agentcom.cli.screen import now, show, show_json, tell, width
from agentcom.cli.tasks import Json
from agentcom.diagnosis import SEVERITIES, Finding, Severity, diagnose, unreachable
from agentcom.errors import ServerUnavailable, UsageError
from agentcom.monitor import findings_view
from agentcom.monitor.reading import look
from agentcom.wording import one_line

EXIT_FOUND = 3

SECOND_LOOK_MAX_S = 10.0
"""A leader that stops is followed by another within a quarter of the lease after it ended: who happens to look in
between looks again, at the latest after so long."""


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("check", rich_help_panel="Look")(check)


def check(
    ctx: typer.Context,
    severity: Annotated[
        str,
        typer.Option(metavar="SEVERITY", help="What counts: findings so grave or graver; critical, warning, notice."),
    ] = "critical",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only what counts, so nothing if all is well.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what is wrong with the pool, and what to do about it.

    Ends with 0 if nothing that counts was found, 3 if something was, and 1 if Redis cannot be reached: that is then
    the one finding.

    \b
    Examples:
      agentcom check
      agentcom check --quiet                       # for cron, which mails what is printed
      agentcom check --severity warning --json | jq -r '.findings[].text'
    """
    counts = _severity(severity)
    context = context_of(ctx)
    try:
        findings = run(lambda: _examine(context))
        code = EXIT_FOUND if findings_view.at_least(findings, counts) else EXIT_OK
    except ServerUnavailable as error:
        findings, code = [unreachable(error.problem, error.remedy)], EXIT_FAILED
    shown = findings_view.at_least(findings, counts) if quiet else findings
    if json:
        _print_document(context.settings.pool, counts, code, findings, shown, quiet=quiet)
    else:
        show(findings_view.lines(shown, width()))
        if not shown and not quiet:
            tell(f"nothing is wrong with the pool {context.settings.pool}")
    end(code)


def _severity(name: str) -> Severity:
    found = next((severity for severity in SEVERITIES if severity == name), None)
    if found is None:
        raise UsageError(f"--severity: expected one of {', '.join(SEVERITIES)}, not {one_line(name, 40)!r}")
    return found


async def _examine(context: Context) -> list[Finding]:
    """What is wrong now.

    Raises:
        ServerUnavailable: Redis cannot be reached, or does not answer.
        CredentialsRefused: it refuses the user or password.
    """
    async with context.any_server() as connections:
        findings = await _look(context, connections)
        if any(finding.rule == "leaderless" for finding in findings):
            await anyio.sleep(min(context.settings.policy.lease_s / 2, SECOND_LOOK_MAX_S))
            findings = await _look(context, connections)
        return findings


async def _look(context: Context, connections: Connections) -> list[Finding]:
    settings = context.settings
    snapshot = await look(connections, settings.pool)
    return diagnose(snapshot, settings.policy, now().ms, agent_down_s=settings.alerts.agent_down_s)


def _print_document(
    pool: str, counts: Severity, code: int, findings: Sequence[Finding], shown: Sequence[Finding], *, quiet: bool
) -> None:
    """One document, also if all is well; none if it is to be quiet and all is well."""
    if quiet and not shown:
        return
    numbers = {severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES}
    show_json(
        {
            "pool": pool,
            "at": now().ms,
            "severity": counts,
            "exit_code": code,
            "found": numbers,
            "findings": [findings_view.document(finding) for finding in shown],
        }
    )
