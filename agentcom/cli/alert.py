"""Alerts: `agentcom alert`."""

from __future__ import annotations

from collections.abc import Sequence
from socket import gethostname

import typer

from agentcom.alerts.delivery import check_urls
from agentcom.alerts.sending import Delivery, send_now
from agentcom.cli.context import EXIT_FAILED, context_of, end, run
from agentcom.cli.screen import show_json, tell
from agentcom.cli.tasks import Json
from agentcom.errors import ConfigurationError

alert_app = typer.Typer(no_args_is_help=True, help="Alerts: who is told when something is wrong.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(alert_app, name="alert", rich_help_panel="Run")


@alert_app.command("test")
def send_test(ctx: typer.Context, json: Json = False) -> None:
    """Send a test message to everybody whom the settings name for alerts, and say for each whether it worked.

    It ends with 1 if one of them could not be told.

    Example: agentcom alert test
    """
    settings = context_of(ctx).settings
    if not settings.alerts.urls and not settings.alerts.command:
        raise ConfigurationError("nobody is to be told", "Set urls or command in [alerts] of agentcom.toml")

    async def send() -> Sequence[Delivery]:
        await check_urls(settings.alerts.urls)
        text = f"This is a test from {gethostname()}: nothing is wrong."
        return await send_now(settings, "a test of alerts", text, kind="test", tries=1)

    deliveries = run(send)
    if json:
        show_json({"receivers": [delivery._asdict() for delivery in deliveries]})
    else:
        for delivery in deliveries:
            tell(f"{delivery.receiver}: {delivery.problem or 'told'}")
    if any(delivery.problem for delivery in deliveries):
        end(EXIT_FAILED)
