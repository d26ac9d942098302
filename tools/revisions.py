"""Files of the workspace, of commits and of experiments."""

import subprocess
from pathlib import Path

from nanopoet.common.errors import NanopoetError


def in_workspace(path: str) -> str:
    """Read a file of the workspace.

    Raises:
        NanopoetError: it is not there.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NanopoetError(f"{path}: no such file; run `make repro`") from None


def at_revision(revision: str, path: str) -> str:
    """Read a file of a revision, also one that DVC keeps.

    Raises:
        NanopoetError: git or DVC lacks it.
    """
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        text: str = dvc.api.read(path, rev=revision)
    except (DvcException, SCMError, FileNotFoundError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NanopoetError(f"{path} at {revision}: {reason}; run the experiment again") from None
    return text


def _git(*arguments: str) -> str:
    """Return what a command of git prints.

    Raises:
        NanopoetError: it failed.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[0]
        raise NanopoetError(f"git {arguments[0]}: {reason}; figures need a commit: `git commit`")
    return done.stdout.strip()


def git_head() -> str:
    """Return the short name of the commit that is checked out."""
    return _git("rev-parse", "--short=7", "HEAD")


def newest_experiment(name: str) -> tuple[str, str] | None:
    """Return the commit that a recipe's newest experiment started from, and its own revision.

    DVC names an experiment refs/exps/<2 digits>/<38 digits of that commit>/<name>.
    """
    order, form = "--sort=-committerdate", "--format=%(refname) %(objectname)"
    refs = _git("for-each-ref", order, form, f"refs/exps/*/*/{name}").splitlines()
    if not refs:
        return None
    ref, revision = refs[0].split()
    _, _, first, others, _ = ref.split("/")
    return (first + others)[:7], revision
