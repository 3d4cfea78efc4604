"""The application from those routers that exist: only until all are written, then this file goes."""

import contextlib
import importlib
import pkgutil
from collections.abc import AsyncIterator

from fastapi import FastAPI

import app.routers
from app import problems
from app.config import Settings
from app.gateway import Gateway


def create_app(settings: Settings) -> FastAPI:
    gateway = Gateway.from_settings(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        gateway.close()

    made = FastAPI(lifespan=lifespan)
    made.state.gateway = gateway
    for found in pkgutil.iter_modules(app.routers.__path__):
        with contextlib.suppress(ImportError, AttributeError):
            made.include_router(importlib.import_module(f"app.routers.{found.name}").router)
    problems.install(made)
    return made
