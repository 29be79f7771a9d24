"""A memory on a Chroma server (`chroma run`), which several processes may use at one time.

Every run has collections of its own there, led by its name. Processes that open one name share one memory: what each writes
is kept, and `Memory.refresh` (which recall calls) takes in what the others wrote. Going back a step is for its run alone.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory.backend.collection import open_collection
from pmd_agent.memory.backend.folder import SCHEMA, check_claim
from pmd_agent.memory.backend.tiers import TierStore

if TYPE_CHECKING:
    from chromadb.api.client import Client

    from pmd_agent.memory.embedders import Embedder


def open_on_server(address: str, name: str, embedder: Embedder) -> tuple[TierStore, ExitStack]:
    """The tables of that name, made where they are not there, and what to close. Raises MemoryStoreError.

    `name` leads the names of the collections: letters, digits, `_`, `.` and `-`, a letter or digit first.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,200}", name, re.ASCII):
        raise MemoryStoreError(f"{name!r} cannot name collections.", "Use letters, digits, '_', '.' and '-'.")
    client = _connect(address)
    with ExitStack() as opened:
        opened.callback(_close, client)
        try:
            _claim(client, f"{name}-identity", f"{name} on {address}", embedder)
            return TierStore(client, embedder, prefix=f"{name}-", shared=True), opened.pop_all()
        except MemoryStoreError:
            raise
        except Exception as error:
            raise MemoryStoreError(
                f"The memory {name} on {address} cannot be opened: {error}", "See the server's own log."
            ) from error


def _connect(address: str) -> Client:
    import chromadb
    from chromadb.config import Settings

    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise MemoryStoreError(f"{address} is no address of a Chroma server.", "Write it as http://host:port.")
    secure = url.scheme == "https"
    try:
        client = chromadb.HttpClient(
            host=url.hostname,
            port=url.port or (443 if secure else 8000),
            ssl=secure,
            settings=Settings(anonymized_telemetry=False),
        )
        client.heartbeat()
    except Exception as error:  # Chroma raises ValueError, its own errors and httpx's
        raise MemoryStoreError(
            f"No Chroma server answers at {address}: {error}",
            f"Start one with `chroma run --path FOLDER --port {url.port or 8000}`, or leave out memory.server.",
        ) from error
    return cast("Client", client)


def _close(client: Client) -> None:
    """Also the connections of the client and of its administrator, which Chroma's own `close` leaves open."""
    servers = [client._server, getattr(client._admin_client, "_server", None)]
    client.close()
    for server in servers:
        if (session := getattr(server, "_session", None)) is not None:
            session.close()


def _claim(client: Client, collection: str, where: str, embedder: Embedder) -> None:
    """The first to come notes whose vectors it will hold; all others are compared with the note."""
    note = open_collection(client, collection)
    mine = {"schema": SCHEMA, "embedder": {"identity": embedder.identity, "dimension": embedder.dimension}}
    # `add` leaves an entry that is there as it is, so that of two who come at once one is the first.
    note.add(ids=["identity"], embeddings=cast(Any, [[1.0]]), metadatas=[{"note": json.dumps(mine)}])
    found = note.get(ids=["identity"], include=["metadatas"])["metadatas"] or [{}]
    check_claim(where, json.loads(str(found[0]["note"])), embedder)
