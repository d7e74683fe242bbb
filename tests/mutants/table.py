"""Rules that README.md and docs/format promise, each with a change to the code that breaks it.

`old` is a regular expression that occurs once in all of src/outlast, wherever the code moves;
`new` takes its place. `tests` are the arguments of pytest that should fail then.
"""

import re
from dataclasses import dataclass
from pathlib import Path


class PatternError(Exception):
    """A pattern does not occur just once: the code has changed, and the table must follow."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`survives` says why no test can tell it from the right code; empty where one must."""

    name: str
    promise: str
    old: str
    new: str
    tests: str
    survives: str = ""

    def place(self, source: Path) -> tuple[Path, str]:
        """The one file below `source` that has the pattern, and its text with the change."""
        found = []
        for path in sorted(source.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            changed, count = re.subn(self.old, lambda _: self.new, text, flags=re.MULTILINE)
            found += [(path, changed)] * count
        if len(found) != 1:
            raise PatternError(f"{self.name}: the pattern occurs {len(found)} times: {self.old}")
        return found[0]


_DURABLE = "a write is synced, renamed, synced (docs/format/archive.md)"
_WRONG = "a mirror's client cannot complete a wrong file (README)"
_RESTRICTED = "private and gated models are for named peers alone (README, swarm.md IV)"
_AGAIN = "at most 16 MiB of a file are fetched again after kill -9 (README)"
_VERIFIED = "nothing is acknowledged before its digest is verified (README)"
_LIAR = "a source that lied is named and not asked again (README)"
_TOKEN = "tokens stay with their host (README)"
_CAPSULE = "what a reader of a capsule must check (docs/format/capsule.md 10)"
_CHAIN = "chains of delta capsules have at most two links, and no circle (docs/format/archive.md)"
_KEPT = "garbage is what nothing refers to or depends on (docs/format/archive.md)"
_CHECKED = "a file without the right check says nothing (docs/format/archive.md, Checks)"
_SECOND = "a second copy is never older than the first (docs/format/archive.md, Checks)"
_LAN = "a datagram in another form is dropped (docs/format/swarm.md III)"
_ELECTED = "one node of a LAN fetches a blob from its origin (docs/format/swarm.md III.3)"
_BELIEVED = "what a peer says is compared with what it names (docs/format/swarm.md V)"
_LINK = "bounds of links and .torrent files (docs/format/swarm.md V)"
_STALE = "a ref is asked for again after five minutes; else the last commit is served (README)"

MUTANTS = (
    # fetch
    Mutant(
        "32-pieces-in-flight",
        _AGAIN,
        r"room = (\w+\.)*(IN_FLIGHT|in_flight)\b",
        "room = 32",
        "tests/crash/test_kill.py -k asked_for_again",
    ),
    Mutant(
        "no-verdict",
        _VERIFIED,
        r"return None if problem is None else IntegrityError\(f\"\{self\.entry\.path\}",
        'return None and IntegrityError(f"{self.entry.path}',
        "tests/pull/test_sources.py -k 'liar_is_named and changed-liar'",
    ),
    Mutant(
        "wrong-piece-accepted",
        _BELIEVED,
        r"not self\.tree\.matches\(index, data, digest\)",
        "False",
        "tests/fetch/test_download.py -k a_wrong_piece_is",
    ),
    Mutant(
        "torn-piece-believed",
        "a partial is never trusted (docs/format/archive.md)",
        r"not self\.tree\.matches\(index, piece, digest\)",
        "False",
        "tests/fetch/test_download.py -k torn",
    ),
    Mutant(
        "liar-not-banned",
        _LIAR,
        r"^            self\.banned = True$",
        "            self.banned = False",
        "tests/fetch/test_download.py -k of_a_banned_source",
    ),
    Mutant(
        "liar-asked-again",
        _LIAR,
        r"^            self\.lost = error\n            self\.emit\(SourceBanned",
        "            self.emit(SourceBanned",
        "tests/fetch/test_source_state.py",
    ),
    Mutant(
        "restriction-lifted-by-a-node",
        _RESTRICTED,
        r"private, gated = facts\.private or old\.private, facts\.gated or old\.gated",
        "private, gated = facts.private, facts.gated",
        "tests/fetch/test_revision.py -k TestRestriction",
    ),
    Mutant(
        "origin-never-helps",
        "the origin helps where peers are slow (ARCHITECTURE, With neighbours)",
        r"not chosen\.whole or now\.slow",
        "not chosen.whole",
        "tests/p2p/test_strategy.py -k slow_crowd",
    ),
    Mutant(
        "never-slow",
        "the origin helps where peers are slow (ARCHITECTURE, With neighbours)",
        r"came <= 0 or \(",
        "False and (",
        "tests/p2p/test_progress.py -k nothing_comes",
    ),
    Mutant(
        "origin-without-election",
        _ELECTED,
        r"self\.origin and \(not self\.elects or self\.role is Role\.FETCH or self\.overdue\)",
        "self.origin",
        "tests/p2p/test_strategy.py -k no_peer_has_it",
    ),
    Mutant(
        "rejected-payload-again",
        "a payload that restored something else is not taken again (swarm.md V)",
        r"if payload\.root in now\.rejected:",
        "if False:",
        "tests/p2p/test_strategy.py -k restored_something_else",
    ),
    # sources
    Mutant(
        "token-to-any-host",
        _TOKEN,
        r"if token and origin\(url\) == own:",
        "if token:",
        "tests/pull/test_access.py -k no_token_follows",
    ),
    Mutant(
        "https-to-http",
        _TOKEN,
        r"before == \"https\" and scheme == \"http\"",
        "False",
        "tests/pull/test_access.py -k fall_back",
    ),
    Mutant(
        "redirect-inward",
        "a public host may not send us into our own network (sources.http)",
        r"if host != source_host and self\._proxy_for\(target\) is None:",
        "if False:",
        "tests/sources/test_http.py -k inside",
    ),
    Mutant(
        "another-manifest",
        _BELIEVED,
        r"if Digest\.of\(data\) != digest:(?=\n +raise IntegrityError\(f\"\{self\.name\})",
        "if False:",
        "tests/sources/test_peer.py -k another_manifest",
    ),
    Mutant(
        "manifest-of-another-model",
        _BELIEVED,
        r"\(revision\.repo, revision\.id\) != \(model\.repo, model\.commit\)",
        "False",
        "tests/sources/test_peer.py -k manifest_of_another_model",
    ),
    Mutant(
        "range-of-another-size",
        _VERIFIED,
        r"if int\(match\[3\]\) != size:",
        "if False:",
        "tests/sources/test_peer.py -k test_ranges",
    ),
    Mutant(
        "metadata-without-bound",
        "everything that a peer says has a bound (sources.peer)",
        r"if len\(data\) > limit:\n(?=\s+raise MalformedError\(f\"\{host_of)",
        "if False:\n",
        "tests/sources/test_peer.py -k 'anywhere and depth'",
    ),
    # store
    Mutant(
        "file-not-synced",
        _DURABLE,
        r"        if sync:\n            fsync\(fd\)\n",
        "",
        "tests/store/test_durability.py",
    ),
    Mutant(
        "folder-not-synced",
        _DURABLE,
        r"    _rename\(temp, final\)\n    fsync_dir\(final\.parent\)\n",
        "    _rename(temp, final)\n",
        "tests/store/test_durability.py",
    ),
    Mutant(
        "download-not-synced",
        _DURABLE,
        r"disk\.set_mode\(self\.fd, disk\.READ_ONLY\)\n            disk\.fsync\(self\.fd\)",
        "disk.set_mode(self.fd, disk.READ_ONLY)",
        "tests/store/test_durability.py",
    ),
    Mutant(
        "lease-forgotten",
        _KEPT,
        r"            \*leased\(self\._layout, alone=self\._alone\),\n",
        "",
        "tests/store/test_writer.py -k last_as_long",
    ),
    Mutant(
        "awaited-forgotten",
        _KEPT,
        r"            \*evidence\.awaited,\n            \*evidence\.drafted,\n",
        "",
        "tests/store/test_drafts.py -k awaits_its_line",
    ),
    Mutant(
        "bases-forgotten",
        _KEPT,
        r"            needed \|= bases\n",
        "            needed |= set()\n",
        "tests/store/test_capsules.py -k gc_keeps",
    ),
    Mutant(
        "three-links",
        _CHAIN,
        r"^MAX_LINKS(: Final)? = 2$",
        "MAX_LINKS = 3",
        "tests/store/test_capsules.py -k two_links_at_most",
    ),
    Mutant(
        "depends-on-itself",
        _CHAIN,
        r"if digest == top:",
        "if False:",
        "tests/store/test_base_chains.py",
    ),
    Mutant(
        "journal-of-another-size",
        "a partial's journal names the file's size (docs/format/archive.md)",
        r"os\.fstat\(self\.fd\)\.st_size == self\.size",
        "True",
        "tests/store/test_partials.py -k data_of_the_wrong_size",
    ),
    Mutant(
        "check-not-compared",
        _CHECKED,
        r"return body if right else None",
        "return body",
        "tests/store/test_closed.py -k 'what_is_known or every_bit_of_a_draft'",
    ),
    Mutant(
        "line-not-compared",
        _CHECKED,
        r"return text if check == _check\(name, part, text\) else None",
        "return text",
        "tests/store/test_drafts.py -k start_to_end",
    ),
    Mutant(
        "check-without-name",
        _CHECKED,
        r'b"outlast\\0%s\\0%s\\0" % \(raw, part\)',
        'b"outlast\\0%s\\0%s\\0" % (b"", part)',
        "tests/store/test_closed.py -k name_of_another",
    ),
    Mutant(
        "no-check-needed",
        _CHECKED,
        r"if len\(data\) > limit or self\.strict:",
        "if len(data) > limit:",
        "tests/store/test_closed.py -k without_a_check",
    ),
    Mutant(
        "old-marker-believed",
        _CHECKED,
        r"return Marker\(FORMAT, unfinished=True\)",
        "return Marker(found)",
        "tests/store/test_closed.py -k without_a_check",
    ),
    Mutant(
        "unreadable-is-open",
        _CHECKED,
        r"return replace\(self\._second_about\(repo\) or UNREADABLE, private=True\)",
        "return About()",
        "tests/store/test_closed.py -k what_is_known",
    ),
    Mutant(
        "missing-is-open",
        _CHECKED,
        r"return UNREADABLE if self\._records\.strict and self\._is_held\(repo\) else About\(\)",
        "return About()",
        "tests/store/test_closed.py -k is_gone",
    ),
    Mutant(
        "introduced-though-held",
        _CHECKED,
        r"if self\.stored_about\(repo\) is None and not self\._is_held\(repo\):",
        "if self.stored_about(repo) is None:",
        "tests/store/test_closed.py -k is_gone",
    ),
    Mutant(
        "listed-not-counted",
        _CHECKED,
        r'elif missing := found\.head\["listed"\] - len\(listed\):',
        "elif missing := 0:",
        "tests/store/test_closed.py -k every_bit_of_a_draft",
    ),
    Mutant(
        "bad-lines-not-counted",
        _CHECKED,
        r"elif not sealed\.is_torn\(line\):",
        "elif False:",
        "tests/store/test_closed.py -k every_bit_of_a_draft",
    ),
    Mutant(
        "mended-to-what-opens-more",
        _CHECKED,
        r"if like is not None and not is_first:",
        "if False:",
        "tests/store/test_closed.py -k opens_less",
    ),
    Mutant(
        "second-copy-later",
        _SECOND,
        r"return \(second, final\) if final\.exists\(\) else \(final, second\)",
        "return (second, final)",
        "tests/store/test_closed.py -k crash_between",
    ),
    Mutant(
        "written-with-a-damaged-marker",
        "a damaged marker keeps from writing (docs/format/archive.md, Checks)",
        r"        if marker\.problem:\n            raise",
        "        if False:\n            raise",
        "tests/store/test_closed.py -k marker_has_two",
    ),
    # mirror
    Mutant(
        "abandoned-stays",
        "a fetch that no client follows makes room (docs/guide/serve.md)",
        r"if not spare:\n            return \[\]",
        "if True:\n            return []",
        "tests/serve/test_mirror_turns.py -k makes_room_for",
    ),
    Mutant(
        "followed-yields",
        "only a fetch that no client follows makes room (docs/guide/serve.md)",
        r"return since is not None and now - since >= grace",
        "return since is not None",
        "tests/serve/test_mirror_turns.py -k keeps_its_place",
    ),
    Mutant(
        "promised-is-forgotten",
        "what a paused fetch still needs of the disk stays promised (mirror.intake)",
        r"if not again:  # what a paused one has written stays on the disk",
        "if True:",
        "tests/serve/test_mirror_turns.py -k promised",
    ),
    Mutant(
        "changed-partial",
        _WRONG,
        r"changed = left is not None and left != _stamp\(download\.partial\.path\)",
        "changed = False",
        "tests/serve/test_mirror_pauses.py -k partial_changed",
    ),
    Mutant(
        "own-mark-is-lost",
        "a client that resumes a file whose fetch was paused gets the rest alone (ARCHITECTURE.md)",
        r"streaming\.first_to_stream \|= unverified",
        "streaming.first_to_stream = unverified",
        "tests/serve/test_mirror_pauses.py -k goes_on_where_it_was",
    ),
    Mutant(
        "brought-by-another",
        _WRONG,
        r"if self\._left is not None:  # another process did, and with other bytes perhaps",
        "if False:",
        "tests/serve/test_mirror_pauses.py -k another_process",
    ),
    Mutant(
        "resumes-onto-a-wrong-beginning",
        _WRONG,
        r"if streams and streaming\.first_to_stream and streaming\.epoch == 0:",
        "if streams and streaming.first_to_stream:",
        "tests/serve/test_mirror_wrong.py -k comes_back_when",
    ),
    Mutant(
        "old-readers-go-on",
        _WRONG,
        r"return epoch == self\.epoch and self\.error is None",
        "return self.error is None",
        "tests/serve/test_streaming.py -k gets_no_more",
    ),
    Mutant(
        "may-always-resume",
        _WRONG,
        r"if not unverified\.is_marked\(self\.archive, entry\.key\):",
        "if True:",
        "tests/serve/test_mirror_wrong.py -k comes_back_after_a_restart",
    ),
    Mutant(
        "last-piece-not-held-back",
        _WRONG,
        r"held_back = \(download\.count - 1\) \* merkle\.PIECE",
        "held_back = self.entry.size",
        "tests/serve/test_streaming.py -k held_back",
    ),
    Mutant(
        "parts-stream",
        _WRONG,
        r"return length <= _PROBE or self\.span\.stop == int\(.*\)$",
        "return True",
        "tests/serve/test_mirror_wrong.py -k 'put_together and 8388607'",
    ),
    Mutant(
        "ref-never-asked-again",
        _STALE,
        r"return time\.monotonic\(\) - checked < self\.ttl",
        "return True",
        "tests/serve/test_mirror_fetch.py -k without_a_while",
    ),
    Mutant(
        "stale-is-not-said",
        _STALE,
        r"_best\(repo, now, latest, \"\" if question\.answered else since, voice\)",
        '_best(repo, now, latest, "", voice)',
        "tests/serve/test_mirror_stale.py -k 'last_known and 503'",
    ),
    # server
    Mutant(
        "any-token-opens",
        "serve --token refuses clients without one of its tokens (docs/cli.md)",
        r"if hmac\.compare_digest\(digest, sent\):",
        "if True:",
        "tests/serve/test_serve_documents.py -k 'others_may_not and metrics'",
    ),
    Mutant(
        "private-door-open",
        "in private mode only static peers get an answer at all (swarm.md IV)",
        r"if not self\._trusted\(plain_address\(address\)\):",
        "if False:",
        "tests/serve/test_peering.py -k in_private",
    ),
    Mutant(
        "blobs-for-strangers",
        _RESTRICTED,
        r"if not await self\._outlet\.threaded\(allows, route\.digest, trusted\):",
        "if False:",
        "tests/serve/test_peering.py -k WhoMay",
    ),
    Mutant(
        "layers-for-strangers",
        _RESTRICTED,
        r"if found is None or not self\._allows\(found\[0\], trusted\):",
        "if found is None:",
        "tests/serve/test_peering.py -k WhoMay",
    ),
    Mutant(
        "payloads-for-strangers",
        _RESTRICTED,
        r"if self\._allows\(blob, trusted\):\n",
        "if True:\n",
        "tests/serve/test_peering.py -k WhoMay",
    ),
    Mutant(
        "one-connection-too-many",
        "connections have a bound (serve --max-connections, docs/cli.md)",
        r"if len\(self\._open\) >= self\._most and not self\._make_room\(connection\.asker\):",
        "if False:",
        "tests/serve/test_serve_limits.py -k one_too_many",
    ),
    # node
    Mutant(
        "restricted-is-open",
        _RESTRICTED,
        r"return restricted is not None and \(trusted or not restricted\)",
        "return restricted is not None",
        "tests/node/test_policy.py -k private_or_gated",
    ),
    Mutant(
        "restricted-is-listed",
        _RESTRICTED,
        r"and \(trusted or not shared\.restricted\):",
        "and True:",
        "tests/node/test_policy.py -k private_or_gated",
    ),
    Mutant(
        "excluded-is-shared",
        "what the settings leave out is offered to no node (swarm.md IV)",
        r"and not any\(fnmatchcase\(name, pattern\) for pattern in self\.exclude\)",
        "",
        "tests/node/test_policy.py -k 'policy_decides or excluded'",
    ),
    Mutant(
        "bases-without-a-model-are-open",
        _RESTRICTED,
        r"dict\.fromkeys\(dependent, not self\._policy\.restricted\)",
        "dict.fromkeys(dependent, False)",
        "tests/node/test_policy.py -k no_model_has",
    ),
    # swarm
    Mutant(
        "dead-fetcher-stays",
        "a node that is not heard for 3.5 s does not count (swarm.md III.3)",
        r"if s\.heard \+ \w*(\.\w+)* > now\}",
        "if s.heard + 60 > now}",
        "tests/swarm/test_election.py -k fetcher_that_dies",
    ),
    Mutant(
        "unable-fetches",
        _ELECTED,
        r"if own\.able and own\.able_from <= now:\n                waited",
        "if True:\n                waited",
        "tests/swarm/test_election.py -k not_able_never",
    ),
    Mutant(
        "two-fetchers-stay",
        _ELECTED,
        r"if any\(_is_before\(own, \*rival, by_pace=by_pace\) for rival in fetching\.items\(\)\):",
        "if False:",
        "tests/swarm/test_election.py -k two_fetchers",
    ),
    Mutant(
        "a-limited-fetcher-is-waited-for",
        "a node with a rate limit holds no quicker one (swarm.md III.3)",
        r"return rest > own\.size / min\(own\.limit or QUICK, QUICK\) \+ SWITCH_S",
        "return False",
        "tests/swarm/test_election.py -k limited_fetcher_is_not_waited_for",
    ),
    Mutant(
        "both-give-way",
        "two fetchers never give way to each other (swarm.md III.3)",
        r"return own\.limit is not None and all\(wish\.limit is not None for wish in rivals\)",
        "return True",
        "tests/swarm/test_election.py -k says_no_limit",
    ),
    Mutant(
        "large-datagram",
        _LAN,
        r"if len\(data\) > MAX_DATAGRAM or not data\.isascii\(\):",
        "if not data.isascii():",
        "tests/swarm/test_datagrams.py -k not_ours",
    ),
    Mutant(
        "header-twice",
        _LAN,
        r"or not line\.isprintable\(\) or name in headers:",
        "or not line.isprintable():",
        "tests/swarm/test_datagrams.py -k not_ours",
    ),
    Mutant(
        "another-infohash",
        _LAN,
        r"if _id\(headers\.get\(\"infohash\", \"\"\)\) != RENDEZVOUS:",
        "if False:",
        "tests/swarm/test_datagrams.py -k not_ours",
    ),
    Mutant(
        "deep-bencoding",
        _LINK,
        r"if len\(self\._open\) == MAX_DEPTH:",
        "if False:",
        "tests/swarm/test_bencode.py -k anything_else",
    ),
    Mutant(
        "many-values",
        _LINK,
        r"if self\._items > MAX_ITEMS:",
        "if False:",
        "tests/swarm/test_bencode.py -k anything_else",
    ),
    Mutant(
        "long-link",
        _LINK,
        r"if len\(text\) > MAX_LINK:",
        "if False:",
        "tests/hostile/test_links.py -k magnet_link_is_refused",
    ),
    # codec
    Mutant(
        "large-directory",
        "a capsule's directory has at most 128 MiB (docs/format/capsule.md 10.3)",
        r"if size > MAX_DIRECTORY:",
        "if False:",
        "tests/codec/test_hostile_frames.py -k more_than_128_mib",
    ),
    Mutant(
        "directory-larger-than-the-file",
        _CAPSULE,
        r"if 2 \* size > trailers_at - len\(fmt\.HEAD\):",
        "if False:",
        "tests/codec/test_hostile_frames.py -k what_is_refused",
    ),
    Mutant(
        "many-bases",
        _CAPSULE,
        r" or bases > MAX_BASES",
        "",
        "tests/codec/test_hostile_frames.py -k what_is_refused",
    ),
    Mutant(
        "another-version",
        _CAPSULE,
        r"if version != VERSION or reserved:",
        "if False:",
        "tests/codec/test_hostile_frames.py -k what_is_refused",
    ),
    Mutant(
        "beyond-the-base",
        _CAPSULE,
        r"if base and base_offset \+ length > bases\[base - 1\]\.size:",
        "if False:",
        "tests/codec/test_hostile_frames.py -k what_is_refused",
    ),
    Mutant(
        "spans-longer-than-the-blob",
        _CAPSULE,
        r"if sum\(span\.length for span in spans\) != trailer\.blob_size:",
        "if False:",
        "tests/codec/test_hostile_frames.py -k what_is_refused",
    ),
    # core
    Mutant(
        "paths-that-go-up",
        "no path leads out of a folder (docs/format/names.md)",
        r"    if segment in \{\"\", \"\.\", \"\.\.\"\}:",
        '    if segment == "":',
        "tests/core/test_names.py -k unsafe_paths",
    ),
    Mutant(
        "device-names",
        "a manifest of version 1 has portable paths alone (docs/format/names.md)",
        r"        part\[-1\] in \"\. \" or _is_device\(part\) for",
        '        part[-1] in ". " for',
        "tests/core/test_names.py -k some_systems_refuse",
    ),
    Mutant(
        "twins-in-case",
        "no two names are one file where case does not count (docs/format/names.md)",
        r"setdefault\(fold\(name\), path\)\n        if first != path:",
        "setdefault(fold(name), path)\n        if False:",
        "tests/core/test_names.py -k twins_on",
    ),
    Mutant(
        "escapes-that-cannot-be-undone",
        "percent-decoding gives back every path (docs/format/names.md)",
        r"_FORBIDDEN\.sub\(_encoded, _ESCAPE\.sub\(\"%25\", part\)\)",
        "_FORBIDDEN.sub(_encoded, part)",
        "tests/core/test_names.py -k how_names_are_escaped",
    ),
    Mutant(
        "files-left-out-in-silence",
        "a revision is partial where a file is left out for its name (docs/format/names.md)",
        r"replace\(listing, entries=kept, unlisted=True\), refused",
        "replace(listing, entries=kept), refused",
        "tests/pull/test_metadata.py -k unsafe_name",
    ),
    Mutant(
        "names-a-file-system-refuses",
        "names that a file system refuses are escaped there (docs/format/names.md)",
        r"        return _listed\(probe\) == set\(paths\)",
        "        return True",
        "tests/cli/test_names.py -k file_system_refuses",
    ),
)
