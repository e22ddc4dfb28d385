"""`token`: tokens of the API."""

from typing import Annotated

import typer

from cli.settings import settings_with_dev_env

__all__ = ["app"]


app = typer.Typer(
    no_args_is_help=True,
    help="""Create tokens for the API and the console.

    Example: sendledger token create --role viewer --account demo
    """,
)


@app.command("create")
def token_create(
    role: Annotated[str, typer.Option(help="publisher, viewer, support or operator.")],
    account: Annotated[list[str], typer.Option(help="An account, or * for all; may be repeated.")],
    subject: Annotated[
        str, typer.Option(help="Owner of the token; stored with everything that is written with it.")
    ] = "cli",
    days: Annotated[int | None, typer.Option(help="Days until it expires; by default it does not.", min=1)] = None,
) -> None:
    """Print a new token, alone on stdout.

    Example: sendledger token create --role viewer --account demo
    """
    from gateway.tokens import issue
    from schemas.settings import TokenSettings

    secret = settings_with_dev_env(TokenSettings).token_secret.get_secret_value()
    seconds = None if days is None else days * 86_400
    typer.echo(issue(secret, subject=subject, role=role, accounts=account, expires_in=seconds))
