"""Banks: a memory as one file, to start another run from, also one of another model.

A bank holds the live entries and what they cite, down to the attempts, with what the run measured of them; no vectors, which
are another embedder's business. Written and read again it is the same, row by row. Two forms, by the file's ending:

    .jsonl     a header, then a row a line: {"tier", "state", "tried", "uses", "id", "text", "entry"}
    .parquet   the same columns; the header is in the file's metadata (needs pyarrow: pip install 'pmd-agent[hub]')

`entry` is the exact entry as JSON text, in which the characters that UTF-8 cannot hold are escaped (codec.py); `id` and `text`
are copies of it for other tools. Rows: tier by tier, newest first; then what is cited.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory.backend.codec import Entry, decode, encode, key_of, tier_of
from pmd_agent.memory.store import Memory
from pmd_agent.text import readable
from pmd_agent.types import TIERS, Experience, Tier

FORMAT = "pmd-memory-bank"
SCHEMA = 3
"""Raised with what a row holds."""
READABLE = (2, 3)
"""2: a row also has `evidence`, of a measurement that has gone; it is passed over."""
BEFORE = -1
"""The step that an imported entry counts as written in: no rollback of the run reaches it."""
_COLUMNS = ("tier", "state", "tried", "uses", "id", "text", "entry")
_STATES = ("live", "quarantined", "retired", "cited")
_KINDS: dict[str, Any] = {"str": str, "int": int, "bool": bool, "float": (int, float), "tuple[str, ...]": tuple}


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a bank."""

    entry: Entry
    state: str
    """live, quarantined, retired; or cited: archived, and there only as a source."""
    tried: tuple[float, ...]
    """Three of its trials: correct rollouts, sum and sum of squares."""
    uses: int

    def plain(self) -> dict[str, Any]:
        """Of JSON, in the order of the columns."""
        entry = self.entry
        values = (
            tier_of(entry), self.state, list(self.tried), self.uses,
            readable(entry.id), readable(entry.text), encode(entry),
        )  # fmt: skip
        return dict(zip(_COLUMNS, values, strict=True))


def export_bank(memory: Memory, path: Path) -> int:
    """Write a bank, whole or not at all; how many entries it has. Raises MemoryStoreError."""
    rows = [row.plain() for row in rows_of(memory)]
    draft = path.with_name(path.name + ".tmp")
    try:
        _writer(path)(draft, rows)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise MemoryStoreError(f"{path} cannot be written: {error.strerror or error}.", "Name another file.") from error
    finally:
        draft.unlink(missing_ok=True)
    return len(rows)


def rows_of(memory: Memory) -> list[Row]:
    """The live entries, tier by tier, then what they cite that is archived, to the bottom."""
    effects = memory.effects()  # what has faded here does not come fresh into another run

    def row(entry: Entry, state: str) -> Row:
        tried = effects.tried(entry.id)
        numbers = (tried.n, tried.total, tried.squares)
        return Row(entry, state, numbers, effects.uses(entry.id))

    def state(entry: Entry) -> str:
        found = effects.state(entry.id)
        return "live" if found == "trial" else found  # whether it is tried, the reader's recipe says

    live = [entry for tier in TIERS for entry in memory.list(tier)]
    names = {(tier_of(e), e.id) for e in live}
    cited: list[Entry] = []
    level = list(live)
    while level:
        below = [source for entry in level for source in memory.sources_of(entry)]
        level = []
        for source in below:
            if (tier_of(source), source.id) not in names:
                names.add((tier_of(source), source.id))
                level.append(source)
        cited += level
    # By tier and id: the order in which sources are met is not that in which a fresh memory would meet them.
    cited.sort(key=lambda e: (TIERS.index(tier_of(e)), key_of(tier_of(e), e.id)))
    return [*(row(e, state(e)) for e in live), *(row(e, "cited") for e in cited)]


def import_bank(memory: Memory, path: Path, *, trial: bool = False) -> int:
    """Fill an empty memory from a bank; how many entries. Raises MemoryStoreError where it is not empty, and for a bad file.

    `trial`: its insights and behaviors, but for those quarantined, have to show first that they help (trust.py).

    What an import that was killed has left is removed first: the note in the ledger, written last, says that it was whole.
    """
    take_back(memory)
    if any(memory.counts().values()):
        raise MemoryStoreError("A bank is read into an empty memory, and this one holds entries.", "Start another run.")
    rows = read_bank(path)
    for tier in TIERS:
        live = [row.entry for row in rows if tier_of(row.entry) == tier and row.state != "cited"]
        cited = [row.entry for row in rows if tier_of(row.entry) == tier and row.state == "cited"]
        memory.put(tier, live, cited, step=BEFORE)
    states = {r.entry.id: [r.state, f"in the bank {path.name}"] for r in rows if r.state in ("quarantined", "retired")}
    if trial:
        here = [r.entry.id for r in rows if r.state in ("live", "retired") and not isinstance(r.entry, Experience)]
        states |= {name: ["trial", f"of the bank {path.name}, not yet shown to help"] for name in here}
    memory.note(
        BEFORE,
        bank={"name": path.name, "entries": len(rows)},
        tried={row.entry.id: row.tried for row in rows if any(row.tried)},
        states=states,
        uses={row.entry.id: row.uses for row in rows if row.uses},
    )
    return len(rows)


def take_back(memory: Memory) -> bool:
    """Remove what an import that was killed has left, where there is nothing else; whether there was any."""
    stored, imported = sum(memory.counts().values()), sum(len(memory.imported(tier, step=BEFORE)) for tier in TIERS)
    if not imported or stored != imported or memory.noted("bank") or memory.noted("by_hand"):
        return False
    memory.rollback(BEFORE)
    return True


def read_bank(path: Path) -> list[Row]:
    """All rows. Raises MemoryStoreError where the file is missing, of another schema, or damaged, naming the row."""
    if not path.is_file():
        raise MemoryStoreError(f"There is no bank {path}.", "`pmd memory export RUN --to FILE` writes one.")
    rows: list[Row] = []
    seen: set[tuple[Tier, str]] = set()
    header, plain_rows = _reader(path)(path)
    _check_header(path, header)
    for number, plain in enumerate(plain_rows, 1):
        try:
            row = _row(plain)
            name = (tier_of(row.entry), row.entry.id)
            if name in seen:
                raise ValueError(f"the {name[0]} {name[1]!r} is there twice")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise _damaged(path, f"entry {number}: {error}") from error
        seen.add(name)
        rows.append(row)
    if header.get("entries") != len(rows):  # a file that was cut between two lines
        raise _damaged(path, f"it has {len(rows)} entries, and its header tells of {header.get('entries')}")
    return rows


def _row(plain: Mapping[str, Any]) -> Row:
    """Of one that is not as it should be: ValueError, KeyError, TypeError, AttributeError or OverflowError."""
    tier, state = plain["tier"], plain["state"]
    if tier not in TIERS or state not in _STATES:
        raise ValueError(f"tier {tier!r}, state {state!r}")
    entry = decode(cast(Tier, tier), plain["entry"])
    for field in fields(entry):
        value, wanted = getattr(entry, field.name), _KINDS.get(str(field.type), object)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise ValueError(f"its {field.name} is {value!r}")
    tried = tuple(float(x) for x in plain["tried"])
    if len(tried) != 3 or not all(map(math.isfinite, tried)):
        raise ValueError(f"tried {tried}")
    return Row(entry, state, tried, int(plain["uses"]))


def generation_of(memory: Memory) -> int:
    """One more than the highest generation among the ids that were imported; 0 where none was.

    What a run writes carries its generation in its ids (`g1/12/p/0`), so that it never takes the id of a bank's entry.
    """
    entries = [e for tier in TIERS for e in memory.imported(tier, step=BEFORE)]
    # Also those of entries that were merged into these: they may be written again under their ids.
    found = [_generation(name) for e in entries for name in (e.id, *getattr(e, "merged", ()))]
    return 1 + max(found) if found else 0


def _generation(entry_id: str) -> int:
    head, slash, _ = entry_id.partition("/")
    return int(head[1:]) if slash and head[:1] == "g" and head[1:].isascii() and head[1:].isdigit() else 0


# ---- files


def _header(entries: int) -> dict[str, Any]:
    return {"format": FORMAT, "schema": SCHEMA, "entries": entries}


def _check_header(path: Path, header: Any) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise _damaged(path, f"it does not begin with the header of a {FORMAT}")
    if header.get("schema") not in READABLE:
        raise MemoryStoreError(
            f"{path} has bank schema {header.get('schema')}; this release reads {READABLE[0]} to {SCHEMA}.",
            "Read it with the release of pmd-agent that wrote it.",
        )


def _write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in (_header(len(rows)), *rows):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _read_jsonl(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    try:
        lines = [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return (lines[0], lines[1:]) if lines else (None, [])


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    pa, pq = _arrow()
    kinds = {"tried": pa.list_(pa.float64(), 3), "uses": pa.int64()}
    schema = pa.schema(
        [(name, kinds.get(name, pa.string())) for name in _COLUMNS], {FORMAT: json.dumps(_header(len(rows)))}
    )
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)


def _read_parquet(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    pa, pq = _arrow()
    try:
        table = pq.read_table(path)
        header = json.loads((table.schema.metadata or {}).get(FORMAT.encode(), b"null"))
    except (pa.ArrowException, ValueError) as error:
        raise _damaged(path, str(error)) from error
    return header, table.to_pylist()


_FORMS = {".jsonl": (_write_jsonl, _read_jsonl), ".parquet": (_write_parquet, _read_parquet)}


def _form(path: Path) -> tuple[Any, Any]:
    if path.suffix not in _FORMS:
        raise MemoryStoreError(f"{path} has no ending that says its form.", f"Use {' or '.join(_FORMS)}.")
    return _FORMS[path.suffix]


def _writer(path: Path) -> Any:
    return _form(path)[0]


def _reader(path: Path) -> Any:
    return _form(path)[1]


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MemoryStoreError(
            "A bank in parquet needs pyarrow, which is not installed.",
            "pip install 'pmd-agent[hub]', or use a file that ends in .jsonl.",
        ) from error
    return pyarrow, pyarrow.parquet


def _damaged(path: Path, how: str) -> MemoryStoreError:
    return MemoryStoreError(f"{path} is no bank that can be read: {how}.", "Export it again, or name another file.")
