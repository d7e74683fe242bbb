"""One pass over a hub: what is due is looked at, within the day's requests; what changed is written
down with the new state, at once.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import Cancelled, MalformedError, OutlastError
from outlast.core.events import Note
from outlast.core.keep_list import Priority
from outlast.core.names import RepoId, RepoKind
from outlast.features.watch.changes import Change, ChangeKind, Observation
from outlast.features.watch.follow import Follow, PatternKind
from outlast.features.watch.memory_rows import Duty, ModelState, Step, Wanted, account_of
from outlast.features.watch.polls.asking import Context, PassOverError, PoliteHub
from outlast.features.watch.polls.compare import (
    MAIN,
    MOST_NAMED,
    Particulars,
    Sighting,
    compare,
    merged,
)
from outlast.features.watch.polls.members import (
    account_name,
    appeared,
    followed,
    found_by,
    of_account,
    pattern_name,
)
from outlast.features.watch.polls.observe import (
    Look,
    Past,
    described,
    details,
    hint,
    known_as,
    look,
)
from outlast.features.watch.polls.schedule import (
    DAY,
    Load,
    back_off,
    budget,
    first_due,
    latest_due,
    moment,
    next_due,
    period,
    rank,
    stretch,
)
from outlast.sources.hub_watch import HubWatch

_log = logging.getLogger(__name__)
_REFS_AT_ONCE: Final = 10_000
"""Models whose refs are asked for in one pass."""
_ALARM: Final = {
    ChangeKind.GATED: 8.0,
    ChangeKind.RELICENSED: 4.0,
    ChangeKind.FILES_DROPPED: 4.0,
    ChangeKind.FORCE_PUSHED: 4.0,
    ChangeKind.MADE_PRIVATE: 8.0,
}
"""How much the risk of a model rises by what happens to it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How often is looked, in seconds, and how many requests a day a hub gets (None: by the number
    of models).
    """

    every: float = DAY
    requests: int | None = None


class Pass:
    """A pass over one hub. `told` receives each change, once it is written down. `alone`: no other
    hub waits for its end, so that it may take as long as it likes.
    """

    def __init__(
        self,
        hub: HubWatch,
        context: Context,
        follows: Sequence[Follow],
        kept: Past,
        *,
        rules: Rules,
        told: Callable[[Change], None],
        alone: bool = True,
    ) -> None:
        self._hub = hub
        self._patience = math.inf if alone else context.tuning.longest_wait
        self._memory = context.memory
        self._follows = follows
        self._kept = kept
        self._rules = rules
        self._control = context.control
        self._clock = context.clock
        self._rest = context.rest
        self._tuning = context.tuning
        self._told = told
        self._asking = PoliteHub(hub, context, told)
        self._followed: dict[RepoId, list[Follow]] = {}
        self._stretch = 1.0
        self._allowed = 0

    def run(self) -> bool:
        """Looks at all that is due. Returns early where the hub is dark or wants patience, the
        requests of the day are used up, or it answers so slowly that other hubs wait for long.
        False if the hub is dark.
        """
        if self._asking.health.rests(self._clock(), self._tuning):
            return not self._asking.health.dark
        try:
            if self._asking.health.is_asked(self._clock(), self._tuning):
                self._asking.doubt(f"{self._hub.name} still gives no answer")
            self._follow()
            self._memory.bring_forward(
                self._hub.name,
                latest_due(self._clock(), self._rules.every, self._stretch, self._tuning),
            )
            self._look_for_members()
            self._follow()
            for duty in self._memory.duties(self._hub.name):
                if duty.due > self._clock() or self._is_spent():
                    break
                if duty.name.startswith("account:"):
                    self._account(duty)
            for repo in self._memory.refs_due(self._hub.name, self._clock(), _REFS_AT_ONCE):
                if self._is_spent():
                    break
                self._refs(repo)
        except PassOverError:
            _log.info("%s is left alone for now", self._hub.name)
            return not self._asking.health.dark
        finally:
            self._asking.close()
        return True

    def _is_spent(self) -> bool:
        self._control.cancel.check()
        return self._asking.spent >= self._allowed or self._asking.waited >= self._patience

    def _period(self, priority: Priority) -> float:
        return period(priority, self._rules.every, self._stretch, self._tuning)

    # Who is followed

    def _follow(self) -> None:
        name = self._hub.name
        self._followed = followed(self._memory, name, self._follows)
        accounts = [
            account_name(follow.what, follow.organisation)
            for follow in self._follows
            if follow.kind is PatternKind.ORGANISATION
        ]
        priorities = {repo: those[0].priority for repo, those in self._followed.items()}
        self._memory.follow(name, priorities, accounts)
        loads = [Load(count, priority, pages) for priority, count, pages in self._memory.load(name)]
        self._allowed = budget(len(priorities), self._rules.requests, self._tuning)
        self._stretch = stretch(loads, self._rules.every, self._allowed, self._tuning)
        for repo, follow in self._budgeted():
            state = self._memory.model(name, repo)
            if state is not None and state.seen is not None:
                self._memory.record([Step(state, replace(state, wanted_by=follow.key))])
                for wanted in self._wanted(state, state.seen, ()):
                    self._memory.want(wanted)

    def _budgeted(self) -> list[tuple[RepoId, Follow]]:
        """Models that are to be archived since another follow means them."""
        known = self._memory.wanted_by(self._hub.name)
        found = []
        for repo in self._followed:
            follow = self._follow_of(repo)
            if follow is not None and known.get(repo) != follow.key:
                found.append((repo, follow))
        return found

    def _follow_of(self, repo: RepoId) -> Follow | None:
        """The follow by which a model is archived."""
        those = self._followed.get(repo, ())
        return next((follow for follow in those if follow.budget is not None), None)

    def _look_for_members(self) -> None:
        searched = [
            f for f in self._follows if f.kind in {PatternKind.COLLECTION, PatternKind.SEARCH}
        ]
        kept = [f.key for f in self._follows if f.repo is None]
        self._memory.forget_patterns(self._hub.name, kept, [*map(pattern_name, searched)])
        duties = {duty.name: duty for duty in self._memory.duties(self._hub.name)}
        for follow in searched:
            name = pattern_name(follow)
            duty = duties.get(name) or Duty(self._hub.name, name)
            if duty.due > self._clock() or self._asking.waited >= self._patience:
                continue
            try:
                repos = self._asking.ask(partial(found_by, self._hub, follow))
            except OutlastError as error:
                self._failed(duty, error)
                continue
            self._found(follow, repos, first=not duty.polled)
            self._done(
                duty, period(follow.priority, self._rules.every, self._stretch, self._tuning)
            )

    def _found(self, follow: Follow, repos: Iterable[RepoId], *, first: bool) -> list[RepoId]:
        """Follows what a pattern found; returns what is new. After the first time, that is told."""
        name = self._hub.name
        known = self._memory.members(name, follow.key)
        new = [repo for repo in dict.fromkeys(repos) if repo not in known]
        if not new:
            return []
        changes = appeared(follow, name, moment(self._clock()), [] if first else new)
        self._memory.add_members(name, follow.key, new, changes)
        self._memory.add_models(
            name, {repo: follow.priority for repo in new if repo not in self._followed}
        )
        for repo in new:
            self._followed.setdefault(repo, []).append(follow)
        for change in changes:
            self._told(change)
        return new

    # Duties

    def _failed(self, duty: Duty, error: OutlastError) -> None:
        if isinstance(error, Cancelled):
            raise error
        self._control.emit(Note(f"{self._hub.name}: {duty.name.partition(':')[2]}: {error}"))
        failures = duty.failures + 1
        due = self._clock() + back_off(duty.name, failures, self._tuning)
        self._memory.put_duty(replace(duty, failures=failures, due=due))

    def _done(self, duty: Duty, seconds: float) -> None:
        due = next_due if duty.polled else first_due
        at = due(duty.name, self._clock(), seconds)
        self._memory.put_duty(replace(duty, failures=0, due=at, polled=True))

    # Accounts

    def _account(self, duty: Duty) -> None:
        """Looks at all followed models of an account, by one list where that costs less."""
        kind, organisation = _parts(duty.name)
        pattern = next((f for f in self._follows if _is_account(f, duty.name)), None)
        models = self._memory.models(self._hub.name, duty.name)
        priorities = [state.priority for state in models]
        priorities += [] if pattern is None else [pattern.priority]
        best = min(priorities, key=rank)
        rows: Mapping[str, Observation] = {}
        try:
            if pattern is not None or Load(len(models), best, duty.pages).by_list:
                before = self._hub.requests
                rows = self._asking.ask(lambda: self._rows(kind, organisation))
                duty = replace(duty, pages=max(1, self._hub.requests - before))
            whole = self._judge_all(duty, models, rows)
            if pattern is not None and whole:
                whole = self._judge_new(duty, pattern, rows)
        except OutlastError as error:
            self._failed(duty, error)
            return
        if whole:
            self._done(duty, self._period(best))
        else:
            self._memory.put_duty(duty)

    def _judge_new(self, duty: Duty, pattern: Follow, rows: Mapping[str, Observation]) -> bool:
        """Follows what is new in an account. What is known by another name is not."""
        kind, organisation = _parts(duty.name)
        models = self._memory.models(self._hub.name, duty.name)
        known = {known_as(state).name.lower() for state in models}
        names = [seen.name for name, seen in rows.items() if name not in known]
        members = [state.repo for state in models if state.repo.name.lower() in rows]
        found = [*members, *of_account(kind, organisation, names)]
        new = {*self._found(pattern, found, first=not duty.polled)}
        added = [
            state
            for state in self._memory.models(self._hub.name, duty.name)
            if state.repo in new and state.seen is None
        ]
        return self._judge_all(duty, added, rows)

    def _rows(self, kind: RepoKind, organisation: str) -> dict[str, Observation]:
        """What the account's list says of each model, by name in lower case."""
        found: dict[str, Observation] = {}
        for row in self._hub.listed(kind, [("author", organisation)]):
            repo = of_account(kind, organisation, [row.get("id")])
            if repo:
                found[repo[0].name.lower()] = described(row, repo[0])
        return found

    def _judge_all(
        self, duty: Duty, models: Sequence[ModelState], rows: Mapping[str, Observation]
    ) -> bool:
        """False where the requests of the day did not do. Raises the error of the last model that
        has one, after all others were looked at.
        """
        gone: list[tuple[ModelState, Observation]] = []
        served = 0
        whole = True
        problem: OutlastError | None = None
        for state in models:
            if self._is_spent():
                whole = False
                break
            before = self._before(state)
            served += before.seen is not None and before.seen.standing.serves
            try:
                after = self._judge(before, rows.get(known_as(before).name.lower()))
            except Cancelled:
                raise
            except OutlastError as error:
                problem = error
                continue
            if after is not None:
                gone.append((before, after))
        self._record_gone(duty, gone, account=whole and served == len(gone) > 1)
        if problem is not None:
            raise problem
        return whole

    def _record_gone(
        self, duty: Duty, gone: Sequence[tuple[ModelState, Observation]], *, account: bool
    ) -> None:
        """Writes down the models of an account that went; as one, if all of it did."""
        steps = [self._step(state, Look(seen), account_gone=account) for state, seen in gone]
        if not account:
            for step in steps:
                self._record([step])
            return
        names = tuple(str(state.repo) for state, _ in gone)
        summary = Change(
            ChangeKind.ACCOUNT_GONE,
            self._hub.name,
            moment(self._clock()),
            before=_parts(duty.name)[1],
            reason=f"{len(names)} models: {gone[0][1].reason}",
            files=names[:MOST_NAMED],
        )
        self._record(steps, summary)

    def _before(self, state: ModelState) -> ModelState:
        """The state; of a model that was not seen yet, what the archive knows of it."""
        if state.seen is not None:
            return state
        return replace(state, seen=self._kept.seed(self._hub.name, state.repo))

    def _judge(self, state: ModelState, row: Observation | None) -> Observation | None:
        """Looks at one model, if the list does not say that all is as it was. Writes down what
        changed, but of one that went: that is returned.
        """
        if row is not None and row.standing.serves:
            if state.seen is None:
                self._first(state, row)
                return None
            if state.seen.standing.serves and state.hint == hint(row):
                return None
        due = state.refs_due <= self._clock()
        found = self._asking.ask(lambda: look(self._hub, state, refs=due))
        if state.seen is None:
            self._first(state, found.seen, found)
            return None
        if not found.seen.standing.serves and state.seen.standing.serves:
            return self._confirmed(state, found.seen)
        mark = "" if row is None else hint(row)
        self._record([self._step(replace(state, hint=mark), found)])
        return None

    def _confirmed(self, state: ModelState, seen: Observation) -> Observation | None:
        """A model that went is asked for once more: a hub may be wrong for a moment."""
        self._rest(self._tuning.rest)
        bare = replace(state, etag="")
        again = self._asking.ask(lambda: look(self._hub, bare, refs=False)).seen
        if again.standing is seen.standing:
            self._asking.doubt(f"{self._hub.name} answers nothing else either: {again.reason}")
            return again
        raise MalformedError(
            f"{self._hub.name} answers for {state.repo} in two ways ({seen.standing}, "
            f"{again.standing}): it is asked again later"
        )

    def _first(self, state: ModelState, seen: Observation, found: Look | None = None) -> None:
        """The first observation of a model: nothing happened yet."""
        if not seen.standing.serves:
            text = f"{self._hub.name} has no {state.repo} ({seen.reason}): it is watched for"
            self._control.emit(Note(text))
        mark = hint(seen) if found is None else ""
        step = self._step(replace(state, hint=mark), found or Look(seen))
        self._record([step])

    # Refs

    def _refs(self, repo: RepoId) -> None:
        state = self._memory.model(self._hub.name, repo)
        if state is None or state.seen is None or state.refs_due > self._clock():
            return
        if not state.seen.standing.serves:  # it is asked for by its account
            later = self._refs_due(state, first=False)
            self._memory.record([Step(state, replace(state, refs_due=later))])
            return
        try:
            found = self._asking.ask(lambda: look(self._hub, state, refs=True, info=False))
        except OutlastError as error:
            if isinstance(error, Cancelled):
                raise
            self._control.emit(Note(f"{self._hub.name}: the refs of {repo}: {error}"))
            due = self._clock() + back_off(str(repo), 1, self._tuning)
            self._memory.record([Step(state, replace(state, refs_due=due))])
            return
        if found.seen.standing.serves:
            self._record([self._step(state, found)])
            return
        name = account_of(repo)
        for duty in self._memory.duties(self._hub.name):  # all of its account are judged together
            if duty.name == name:
                self._account(duty)

    def _refs_due(self, state: ModelState, *, first: bool) -> float:
        seconds = self._period(state.priority)
        name = f"refs {state.repo}"
        now = self._clock()
        return first_due(name, now, seconds) if first else next_due(name, now, seconds)

    # What is written down

    def _step(self, state: ModelState, found: Look, *, account_gone: bool = False) -> Step:
        """The new state, and the changes that led to it."""
        before, seen = state.seen, found.seen
        place = Sighting(self._hub.name, state.repo, moment(self._clock()))
        changes: tuple[Change, ...] = ()
        if before is not None:
            repo = RepoId(state.repo.kind, seen.name) if seen.name else state.repo
            more = details(self._hub, state, seen, self._kept, repo=repo)
            if account_gone:
                more = Particulars(account_gone=True)
            changes = compare(before, seen, place, more)
        due = state.refs_due
        if found.asked_refs:
            due = self._refs_due(state, first=before is None or before.refs is None)
        elif before is None or before.commit != seen.commit:
            due = self._clock()
        follow = self._follow_of(state.repo)
        after = replace(
            state,
            seen=merged(before, seen),
            etag=found.etag,
            refs_etag=found.refs_etag,
            refs_due=due,
            wanted_by=follow.key if follow else "",
        )
        wanted = self._wanted(state, seen, changes)
        return Step(state, after, changes, wanted, told=not account_gone)

    def _wanted(
        self, state: ModelState, seen: Observation, changes: Sequence[Change]
    ) -> tuple[Wanted, ...]:
        """The commit to archive, if a follow says so."""
        follow = self._follow_of(state.repo)
        if follow is None or not seen.standing.serves:
            return ()
        ref = follow.ref or MAIN
        commit = _head(seen, ref)
        before = None if state.seen is None else _head(state.seen, ref)
        if commit is None or (commit == before and not changes and state.wanted_by == follow.key):
            return ()
        risk = sum(_ALARM.get(change.kind, 0.0) for change in changes)
        return (Wanted(self._hub.name, state.repo, ref, commit, risk, seen.size),)

    def _record(self, steps: Sequence[Step], *summary: Change) -> None:
        steps = [step for step in steps if step.after != step.before or not step.before.version]
        if not steps or not self._memory.record(steps, summary):
            return
        for change in summary or [change for step in steps for change in step.changes]:
            self._told(change)


def _head(seen: Observation, ref: str) -> GitOid | None:
    return seen.commit if ref == MAIN else (seen.refs or {}).get(ref)


def _parts(duty: str) -> tuple[RepoKind, str]:
    plural, _, organisation = duty.removeprefix("account:").partition("/")
    return next(kind for kind in RepoKind if kind.plural == plural), organisation


def _is_account(follow: Follow, duty: str) -> bool:
    if follow.kind is not PatternKind.ORGANISATION:
        return False
    return account_name(follow.what, follow.organisation) == duty
