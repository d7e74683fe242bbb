"""Features: what the product does beside its core. Each is a package here; what it
needs from the package index is an optional pip dependency group, which users install by name. No
other feature imports it, and nothing of the core does.

A feature gives a :class:`Feature`, and is listed below with its commands, so that help costs no
import of it. It may import everything but other features; what two of them exchange is a record in
`core` that lies in the archive. Its modules import at their top what is light: `serve` and `doctor`
load all features.
"""

from outlast.cli.feature import Command, Feature, Listed

__all__ = ["FEATURES", "Command", "Feature", "Listed"]

FEATURES: tuple[Listed, ...] = (
    Listed(
        "audit",
        "outlast.features.audit.feature:AUDIT",
        {
            "audit": Command(
                "outlast.features.audit.commands.audit:audit",
                "Find out whether an endpoint serves the weights that are archived here.",
            ),
        },
    ),
    Listed(
        "bundle",
        "outlast.features.bundle.feature:BUNDLES",
        {
            "export": Command(
                "outlast.features.bundle.commands.export:export",
                "Write models to removable media, for an archive across an air gap.",
            ),
            "import": Command(
                "outlast.features.bundle.commands.import_bundle:import_",
                "Archive what a bundle holds: verified, and repaired from its parity.",
            ),
            "inventory": Command(
                "outlast.features.bundle.commands.inventory:inventory",
                "Write what this archive has, so that an export can leave it out.",
            ),
        },
    ),
    Listed(
        "durability",
        "outlast.features.durability.feature:DURABILITY",
        {
            "keep": Command(
                "outlast.features.durability.commands.keep:keep",
                "Hold copies that other nodes need, or that are rare, up to a budget.",
            ),
            "scrub": Command(
                "outlast.features.durability.commands.scrub:scrub",
                "Read all bytes again, the longest unread first; report and mend damage.",
            ),
        },
        "outlast.features.durability.settings:DurabilitySection",
    ),
    Listed(
        "gateway",
        "outlast.features.gateway.feature:GATEWAY",
        {
            "gateway": Command(
                "outlast.features.gateway.commands.gateway:gateway",
                "Answer OpenAI's and Anthropic's clients from hosted models and the archive.",
            ),
            "launch": Command(
                "outlast.features.gateway.commands.launch:launch",
                "Start a coding tool with an archived model or a gateway.",
            ),
        },
        reports="outlast.features.gateway.commands.reports:reports",
    ),
    Listed(
        "lineage",
        "outlast.features.lineage.feature:LINEAGE",
        {
            "lineage": Command(
                "outlast.features.lineage.commands.lineage:lineage",
                "Find which archived models a model was made from, by its weights.",
            ),
        },
    ),
    Listed(
        "trust",
        "outlast.features.trust.feature:TRUST",
        {
            "bom": Command(
                "outlast.features.trust.commands.bom:bom",
                "Write a bill of materials (CycloneDX) of models.",
            ),
            "catalogue": Command(
                "outlast.features.trust.catalogue.commands.catalogue:catalogue",
                "Make a signed list of models, or follow lists of others.",
            ),
            "dossier": Command(
                "outlast.features.trust.commands.dossier:dossier",
                "Write one signed page about a model, for a security officer to file.",
            ),
            "evidence": Command(
                "outlast.features.trust.commands.evidence:evidence",
                "Show, check and timestamp the records of what was pulled, when and from where.",
            ),
            "key": Command(
                "outlast.features.trust.commands.key:key",
                "Make keys, and pin those of publishers, observers and revokers.",
            ),
            "observe": Command(
                "outlast.features.trust.commands.observe:observe",
                "Look at what a hub says of a revision, and sign it.",
            ),
            "policy": Command(
                "outlast.features.trust.commands.policy:policy",
                "Check, explain and test the rules: what may be done with which model.",
            ),
            "revoke": Command(
                "outlast.features.trust.commands.revoke:revoke",
                "Sign that a revision is not to be used any more.",
            ),
            "sign": Command(
                "outlast.features.trust.commands.sign:sign",
                "Sign a revision as its publisher, or take what others signed.",
            ),
        },
        "outlast.features.trust.settings:TrustSection",
        gate="outlast.features.trust.feature:gate",
        rules="trust/rules.cedar",
        assessor="outlast.features.trust.feature:assessor",
        recorder="outlast.features.trust.feature:recorder",
        weigher="outlast.features.trust.feature:weigher",
        names="outlast.features.trust.feature:known_names",
        finder="outlast.features.trust.catalogue.finder:FINDER",
        signer="outlast.features.trust.feature:statement_signer",
        countries="outlast.features.trust.feature:countries",
    ),
    Listed(
        "tune",
        "outlast.features.tune.feature:TUNE",
        {
            "convert": Command(
                "outlast.features.tune.commands.convert:convert",
                "Write a model or an adapter as GGUF, by llama.cpp's own converter.",
            ),
            "merge": Command(
                "outlast.features.tune.commands.merge:merge",
                "Add an adapter into the weights of its base, as a model of its own.",
            ),
            "tune": Command(
                "outlast.features.tune.commands.tune:tune",
                "Train a LoRA adapter on an archived model, with a record of its making.",
            ),
        },
    ),
    Listed(
        "watch",
        "outlast.features.watch.feature:WATCH",
        {
            "follow": Command(
                "outlast.features.watch.commands.follow:follow",
                "Follow models, organisations, collections or searches of a hub.",
            ),
            "log": Command(
                "outlast.features.watch.commands.log:log",
                "Show what this archive has seen of a model, by hub and date.",
            ),
            "mirror": Command(
                "outlast.features.watch.commands.mirror:mirror",
                "Show how many holders models have, and what would be lost with a hub.",
            ),
            "watch": Command(
                "outlast.features.watch.commands.watch:watch",
                "Look at hubs for changes of what is followed, and archive what is at risk.",
            ),
            "withdraw": Command(
                "outlast.features.watch.commands.withdraw:withdraw",
                "Record a takedown notice; stop giving out a model.",
            ),
        },
        "outlast.features.watch.settings:WatchSection",
    ),
)
