"""Every error that outlast raises on purpose: one root, a few families, one code each.

A family decides the exit status; the code names the case; the hint says what to do next.
Anything that is not an :class:`OutlastError` is a bug and keeps its traceback.
"""

from typing import ClassVar


class OutlastError(Exception):
    """Root of all expected errors.

    ``code`` is stable and greppable, ``exit_code`` is the process's exit status, ``hint`` is the
    next step for the reader of the message. ``may_be_limit``: a server that was asked for too much
    at once may fail like this, so that the same request may succeed alone.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = "'outlast doctor' may know more"

    def __init__(self, message: str, *, hint: str = "", may_be_limit: bool = False) -> None:
        super().__init__(one_line(message))
        self.hint = one_line(hint or self.default_hint)
        self.may_be_limit = may_be_limit


def one_line(text: str, limit: int = 600) -> str:
    """`text` with line breaks and control characters made visible, so that hostile names cannot
    forge a second line of output, and cut at `limit` characters.
    """
    if len(text) > limit:
        text = text[:limit] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class UsageError(OutlastError):
    """The command line is wrong, or its options contradict each other."""

    code = "usage"
    exit_code = 2
    default_hint = "see 'outlast --help'"


class BadNameError(UsageError):
    """A model name, ref or path that outlast does not accept."""

    code = "bad-name"
    default_hint = "names look like org/name, org/name@ref or datasets/org/name"


class BadConfigError(UsageError):
    """The configuration file, a flag or an environment variable is wrong."""

    code = "bad-config"
    default_hint = "'outlast guide configuration' lists the settings"


class BadRulesError(BadConfigError):
    """The operator's rules cannot be read, or ask for what no model has."""

    code = "bad-rules"
    default_hint = "'outlast policy check' names the place; the guide to rules has the attributes"


class BadListError(UsageError):
    """A keep-list is empty, too large, or has a line that is wrong. Nothing was done."""

    code = "bad-list"
    default_hint = "'outlast guide keep' shows how a list is written"


class BadDataError(UsageError):
    """Training data has rows that cannot be learned from; all of them are named by their lines."""

    code = "bad-data"
    default_hint = "mend these lines, or delete them; 'outlast tune --help' shows what a row is"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class BadKeyError(UsageError):
    """A key, or the file that has it, cannot be used: it is of another kind, damaged, encrypted
    without a passphrase, or other users can read it.
    """

    code = "bad-key"
    default_hint = "'outlast key list' shows the keys that can be used"


class NotFoundError(OutlastError):
    """Neither the archive nor a source knows this name."""

    code = "not-found"
    exit_code = 3
    default_hint = "'outlast ls' lists what the archive holds"


class RepoNotFoundError(NotFoundError):
    """The source (or the archive) has no such model."""

    code = "repo-not-found"
    default_hint = "check the spelling, and the token (HF_TOKEN, [tokens]) if the model is private"


class RevisionNotFoundError(NotFoundError):
    """The model exists but has no such ref or commit."""

    code = "revision-not-found"
    default_hint = "'outlast show' lists the refs that the archive knows"


class EntryNotFoundError(NotFoundError):
    """The revision exists but has no such file."""

    code = "entry-not-found"
    default_hint = "'outlast show' lists the files of a revision"


class NotArchivedError(NotFoundError):
    """The revision lists the file, but the archive does not hold its bytes."""

    code = "not-archived"
    default_hint = "'outlast pull' fetches what is missing"


class WithdrawnError(NotFoundError):
    """The source no longer gives it out, by law or by its own will. It is not asked again."""

    code = "withdrawn"
    default_hint = (
        "others may have it: --from lan (neighbours), --from peer:HOST:PORT (a static peer), "
        "--from URL (a mirror), or 'outlast add' of a copy from a bundle or disk"
    )


class IntegrityError(OutlastError):
    """Bytes do not match their digest. The same source is not asked again."""

    code = "integrity"
    exit_code = 4
    default_hint = "name another source with --from"


class BadSignatureError(IntegrityError):
    """A signature does not match what it signs, or is not written as its format says."""

    code = "bad-signature"
    default_hint = "get the file again from its author, and compare the key"


class CorruptError(IntegrityError):
    """A file of the archive is damaged."""

    code = "corrupt"
    default_hint = "'outlast verify' lists the damage; pull again to repair it"


class DamagedError(CorruptError):
    """Bytes of a blob here are known to be damaged: they are not given out."""

    code = "damaged"
    default_hint = "'outlast scrub' or another pull mends it; 'outlast verify' lists all damage"


class DamagedThereError(CorruptError):
    """A source found its own copy of a file damaged, and did not give it out. Its other files may
    be right, and where `piece` says which one (1 MiB) is wrong, the other pieces.
    """

    code = "damaged-there"
    default_hint = "'outlast scrub --store' mends a second home; another source may have the file"

    def __init__(self, message: str, *, piece: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.piece = piece


class DamagedRecordError(CorruptError):
    """A small file of the archive (a ref, a draft, what is known of a model …) does not pass its
    check. What it said counts as unknown: nothing becomes public or complete by it.
    """

    code = "damaged-record"
    default_hint = "'outlast doctor --mend' restores it, or sets it aside and says what is lost"


class BeyondRepairError(IntegrityError):
    """More is lost than the parity can restore."""

    code = "beyond-repair"
    default_hint = "another copy of the same bytes is needed"


class MalformedError(IntegrityError):
    """Input does not follow its format, or exceeds a limit."""

    code = "malformed"
    default_hint = "the sender is at fault; try another source"


class CatalogueRefusedError(IntegrityError):
    """A catalogue does not prove what it says: a signature, a version, a name or a length is wrong.
    What this archive had of it stays.
    """

    code = "catalogue-refused"
    default_hint = "try another copy of the catalogue; its operator should hear of it"


class SuspectContentError(IntegrityError):
    """A file is not what its name says, and --strict refuses it."""

    code = "suspect-content"
    default_hint = "--exclude leaves the file out; without --strict it is archived with a warning"


class TransientError(OutlastError):
    """A temporary failure: it may work later, or with another source."""

    code = "transient"
    exit_code = 5
    default_hint = "run the same command again: it resumes"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after: float | None = None,
        again: bool = True,
        may_be_limit: bool = False,
    ) -> None:
        """`retry_after`: seconds that the source asks to wait. `again` is false if the same request
        would fail at this source again in this run: another source is asked at once.
        """
        super().__init__(message, hint=hint, may_be_limit=may_be_limit)
        self.retry_after = retry_after
        self.again = again


class UnreachableError(TransientError):
    """A source does not answer, or answers with a server error."""

    code = "unreachable"
    default_hint = "run the same command again, or name another source with --from"


class RateLimitedError(UnreachableError):
    """A source answers, and asks for fewer requests (HTTP 429, or 403 that says so)."""

    code = "rate-limited"
    default_hint = "run the same command later, set HF_TOKEN, or name another source with --from"


class BusyError(TransientError):
    """Another process holds what this one needs."""

    code = "busy"
    default_hint = "wait for the other outlast process, or end it"


class ExhaustedError(TransientError):
    """Open files or memory are short at the moment; what was asked for is not damaged."""

    code = "exhausted"
    default_hint = "try again later; 'ulimit -n' tells how many files a process may open"


class PolicyError(OutlastError):
    """A rule forbids it: access control, a licence, or the operator's policy."""

    code = "policy"
    exit_code = 7
    default_hint = "the rule is deliberate: see 'outlast guide configuration'"


class RefusedByRulesError(PolicyError):
    """The rules of this archive's operator do not allow it."""

    code = "refused-by-rules"
    default_hint = "'outlast policy explain' says which rule decided, and by what"


class NoRulesEngineError(PolicyError):
    """There are rules, and the package that evaluates them is not installed."""

    code = "no-rules-engine"
    default_hint = "pip install '.[trust]' in a checkout of outlast"


class StaleListError(PolicyError):
    """A list of parties is older than the operator allows: what it does not name is not known to be
    unlisted.
    """

    code = "stale-list"
    default_hint = "get the list anew; the setting 'lists-older-than' of [trust] has the limit"


class QuarantinedError(PolicyError):
    """The files are pickles, or may have some inside: other programs do not get them unless the
    operator allows it.
    """

    code = "quarantined"
    default_hint = (
        "'outlast quarantine allow DIGEST' allows a file by its digest; safetensors need no such"
    )


class AccessDeniedError(PolicyError):
    """The source requires a token, or that you accept its terms first."""

    code = "access-denied"
    default_hint = "accept the terms on the hub's page, then set HF_TOKEN"


class LockedError(PolicyError):
    """A bundle is encrypted, and no identity that opens it was given."""

    code = "locked"
    default_hint = "give --identity FILE, or set 'identity' in the configuration"


class KeyRefusedError(PolicyError):
    """The gateway does not know the key that a caller gave, or it was revoked."""

    code = "key-refused"
    default_hint = "'outlast gateway keys list' shows the keys that may be used"


class ModelForbiddenError(PolicyError):
    """The key of the gateway's caller may not use this model."""

    code = "model-forbidden"
    default_hint = "'outlast gateway keys list' shows which models a key may use"


class BudgetSpentError(PolicyError):
    """A budget of the gateway does not have what the request may take."""

    code = "budget-spent"
    default_hint = "'outlast gateway keys list' shows the budgets and what is spent of them"

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        """`retry_after`: seconds until the budget begins anew; None: it does not."""
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class TakenDownError(PolicyError):
    """The operator of this archive recorded a notice against a model: it is not given out."""

    code = "taken-down"
    default_hint = "its operator can lift that with 'outlast withdraw --undo'"


class RevokedError(PolicyError):
    """A key that may revoke it signed that this revision is not to be used any more."""

    code = "revoked"
    default_hint = (
        "'outlast verify --who' says by which key; --accept-revoked DIGEST uses it anyway"
    )


class UnvouchedError(PolicyError):
    """Nothing but its own digests speaks for a revision that is about to run: it was not published,
    observed or listed by those that count here, and the operator did not add or accept it.
    """

    code = "unvouched"
    default_hint = "'outlast verify --who' says what is missing; 'run --accept DIGEST' runs it"


class CodeNotAllowedError(PolicyError):
    """A model needs Python code of its own, and the operator did not allow exactly this code."""

    code = "code-not-allowed"
    default_hint = (
        "read the files, then 'run --allow-code DIGEST'; 'outlast show' prints the digest"
    )


class ChangedKeyError(PolicyError):
    """Another key is pinned for this publisher, and nothing that it trusts signed the new one."""

    code = "changed-key"
    default_hint = "ask the publisher for a rotation: 'outlast key pin --file FILE'"


class TooDeepError(PolicyError):
    """Delta chains are limited to 2 links and may not form a cycle."""

    code = "too-deep"
    default_hint = "'outlast pack --no-base' stores the base without a delta"


class StorageError(OutlastError):
    """The disk or the file system refuses the operation."""

    code = "storage"
    exit_code = 8
    default_hint = "check permissions and mount options of the archive's folder"


class DiskFullError(StorageError):
    """The disk has not enough space."""

    code = "disk-full"
    default_hint = "free space, or run 'outlast gc --now'; nothing that was acknowledged is lost"


class EngineError(OutlastError):
    """The model cannot be run, or the engine failed."""

    code = "engine"
    exit_code = 9
    default_hint = "'outlast doctor' says which engines are installed"


class EndlessTemplateError(EngineError):
    """A chat template did not finish in time: it still runs, until the engine is ended."""

    code = "endless-template"
    default_hint = "'outlast show --template-diff' shows what changed in it"


class Cancelled(OutlastError):  # noqa: N818 - it is not a failure
    """The user or the caller stopped the command."""

    code = "cancelled"
    exit_code = 130
    default_hint = "run the same command again: it resumes"


def all_errors(root: type[OutlastError] = OutlastError) -> list[type[OutlastError]]:
    """`root` and its descendants, parents first."""
    found = [root]
    for child in root.__subclasses__():
        found.extend(all_errors(child))
    return found
