"""Adds the console to the application of the gateway."""

from fastapi import FastAPI

from application.raw_events import RawEvents
from gateway.api.weather import ReadWeather
from gateway.bulk_releaser import BulkReleaser
from gateway.console import (
    accounts,
    acts,
    bounces,
    bulk_releases,
    dead_letters,
    delivery,
    health,
    imports,
    logs,
    sign_in,
    suppressions,
    weather,
)
from gateway.console.pages import Pages
from gateway.console.static_files import read_static_files
from gateway.health import Readiness
from gateway.problems import path_of
from gateway.read_pool import ReadPool
from processors.kafka.ports import RecordProducer
from projections.store import Store
from schemas.settings import GatewaySettings

__all__ = ["install"]


def install(
    app: FastAPI,
    settings: GatewaySettings,
    store: Store,
    kafka: RecordProducer,
    reads: ReadPool,
    readiness: Readiness,
    read_weather: ReadWeather,
    raw_events: RawEvents,
) -> None:
    """Add the console's routes to `app`."""
    static = read_static_files()
    pages = Pages(path_of(settings.public_url), static)
    app.state.console = pages
    app.include_router(static.router())
    app.include_router(sign_in.router(settings, pages))
    app.include_router(accounts.router(settings, store, reads, pages))
    app.include_router(logs.router(settings, store, reads, raw_events, pages))
    app.include_router(bounces.router(settings, store, reads, pages))
    app.include_router(suppressions.router(settings, store, reads, pages))
    app.include_router(imports.router(settings, kafka, pages))
    app.include_router(acts.router(settings, store, kafka, reads, pages))
    app.include_router(bulk_releases.router(settings, BulkReleaser(settings, store, kafka, reads), pages))
    app.include_router(delivery.router(settings, store, reads, pages))
    app.include_router(health.router(settings, store, reads, readiness, pages))
    app.include_router(dead_letters.router(settings, pages))
    app.include_router(weather.router(settings, read_weather, pages))
