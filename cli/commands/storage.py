"""`migrate` and `topics`: ClickHouse's tables and Kafka's topics."""

from typing import Annotated

import typer

from cli.options import AsJson
from cli.process import run
from cli.progress import waiting_for
from cli.settings import settings_from_env

__all__ = ["app"]

app = typer.Typer()


@app.command()
def migrate(
    roles: Annotated[
        bool, typer.Option("--roles", help="Only print the SQL of roles, quotas and row policies; run nothing.")
    ] = False,
    account: Annotated[
        list[str] | None, typer.Option(help="With --roles: an account whose dashboards get a role; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Migrate the database to the newest version, and set how long messages and contents are kept.

    It is safe to repeat, and to run concurrently. With --roles it changes nothing.

    Example: sendledger migrate
    """
    from cli.output import show
    from cli.stores import open_store
    from projections.store import migrate as migrations
    from projections.store import retention
    from projections.store.access import access_statements
    from schemas.errors import RequestError
    from schemas.settings import MigrateSettings

    settings = settings_from_env(MigrateSettings)
    if account and not roles:
        raise RequestError("An account is only for the SQL of roles", "--account", "Add --roles, or leave it out")
    if roles:
        statements = access_statements(settings.clickhouse_database, account or (), cluster=settings.clickhouse_cluster)
        if as_json:
            show([{"sql": one} for one in statements], as_json=True)
        else:
            print(*(f"{one};" for one in statements), sep="\n")
        return
    with open_store(settings, timeout_seconds=600) as store:  # changing a large table can take long
        done = [{"applied": m.version or "view", "name": m.name} for m in migrations.apply(store)]
        days, content_days = settings.retention_days, settings.content_retention_days
        of_messages, of_contents = retention.set_retentions(store, days=days, content_days=content_days)
        if of_messages:
            done.append({"applied": "retention", "name": f"messages: {f'{days} days' if days else 'for ever'}"})
        if of_contents:
            done.append({"applied": "retention", "name": f"contents: {content_days} days"})
    show(done, as_json=as_json, none="Nothing to apply.")


@app.command()
def topics(as_json: AsJson = False) -> None:
    """Create the missing topics.

    Example: sendledger topics
    """
    from cli.output import show
    from processors.kafka.topics import create_topics
    from schemas.settings import TopicSettings

    settings = settings_from_env(TopicSettings)
    with waiting_for(f"Kafka at {settings.kafka}"):
        made = run(create_topics(settings))
    show([{"made": name} for name in made], as_json=as_json, none="All topics exist.")
