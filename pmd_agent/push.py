"""What a run has learnt, on the Hugging Face hub: exported, checked, and sent as one commit.

The hub's own client does the sending; the token is the one that it finds (HF_TOKEN, or `hf auth login`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pmd_agent.errors import RunError
from pmd_agent.export import export_run
from pmd_agent.models import BOX
from pmd_agent.models.loading import first_line
from pmd_agent.recipe import ScriptedPolicySection
from pmd_agent.runs.folder import RunDir

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN; it has to be a token that may write."


def push_run(
    run: RunDir,
    to: str,
    *,
    merge: bool = False,
    public: bool = False,
    update: bool = False,
    say: Callable[[str], None] = lambda text: None,
    done: Callable[[str], None] = lambda text: None,
) -> str:
    """Export a run and send it to the repository `owner/name`, and return its address. Raises RunError.

    The repository is made, private unless `public`. `update`: it may be there; the commit then replaces what is in it.
    Whatever can be looked at before the export is. `say` hears warnings, `done` what was done so far.
    """
    from huggingface_hub import HfApi

    _check_name(to)
    _check_base(run, merge)
    api = HfApi()
    with _told(to, api):
        api.whoami()
        there = api.repo_exists(to)
    if there and not update:
        raise RunError(f"{to} is on the hub already.", "Give another name, or --update to replace what is in it.")
    with tempfile.TemporaryDirectory(prefix="pmd-push-") as scratch:
        folder = export_run(run, Path(scratch) / to.rpartition("/")[2], merge=merge, called=to, say=say)
        sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
        done(f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB, to {api.endpoint}/{to}")
        if not there:
            with _told(to, api):
                api.create_repo(to, private=not public)
        with _told(to, api, "" if there else " It was made, and is empty: try again with --update."):
            api.upload_folder(
                repo_id=to,
                folder_path=folder,
                commit_message=f"{run.recipe.name}, {run.recipe.method}, made by pmd",
                delete_patterns="*" if there else None,
            )
    return f"{api.endpoint}/{to}"


def _check_name(to: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    owner, slash, name = to.partition("/")
    try:
        validate_repo_id(to)
        reason = "" if owner and slash and name else "it has no owner"
    except HFValidationError as error:
        reason = first_line(error)
    if reason:
        raise RunError(f"{to!r} is no name of a repository: {reason}.", "Give --to OWNER/NAME, such as --to me/mine.")


def _check_base(run: RunDir, merge: bool) -> None:
    """An adapter is of use where its base can be had."""
    section = run.recipe.policy
    if merge or isinstance(section, ScriptedPolicySection) or section.model == BOX:
        return
    if Path(section.model).expanduser().exists():
        raise RunError(
            f"The base of this adapter, {section.model}, is on this machine alone: nobody else could use the adapter.",
            "Send whole weights: add --merge.",
        )


@contextmanager
def _told(to: str, api: HfApi, after: str = "") -> Iterator[None]:
    """What the hub or the way to it refuses, as one RunError. `after`: how things stand then."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except LocalTokenNotFoundError:
        raise RunError("There is no token for the hub.", LOG_IN) from None
    except OfflineModeIsEnabled:
        raise RunError("HF_HUB_OFFLINE is set, so nothing is sent.", "Unset it (HF_HUB_OFFLINE=0).") from None
    except HfHubHTTPError as error:
        raise _refused(to, error, after) from None
    except (HTTPError, OSError) as error:
        raise RunError(
            f"{api.endpoint} cannot be reached: {_why(error)}.{after}",
            "Look at the network, and at HF_ENDPOINT and HTTPS_PROXY where they are set.",
        ) from None
    except (RuntimeError, ValueError) as error:  # of the programs that send large files, and of the model card's check
        raise RunError(f"{to} was not sent: {_why(error)}.{after}", "Try again.") from None


def _why(error: Exception) -> str:
    """What it says, and what that came from: the client says of a file only that it was not sent."""
    cause = error.__cause__
    said = first_line(error).rstrip(".")
    return f"{said}: {first_line(cause).rstrip('.')}" if isinstance(cause, Exception) else said


def _refused(to: str, error: HfHubHTTPError, after: str) -> RunError:
    status, owner = error.response.status_code, to.partition("/")[0]
    said = (error.server_message or first_line(error)).rstrip(".")
    match status:
        case 401:
            return RunError(f"The hub does not know this token: {said}.{after}", LOG_IN)
        case 403 | 404:
            hint = f"Give an owner that you may write for, or a token that may: {owner} is named in --to."
            return RunError(f"The hub does not let you write to {to}: {said}.{after}", hint)
        case 409:
            hint = "Give another name, or --update to replace what is in it."
            return RunError(f"{to} is on the hub already: {said}.{after}", hint)
        case 400 | 422:
            return RunError(f"The hub does not take {to}: {said}.{after}", "Give another name with --to.")
        case _:
            return RunError(f"The hub answered {status}: {said}.{after}", "Try again later.")
