"""`kns migrate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.kube_proxy_flags import (
    KubeProxyCommand,
    given_flags,
    kube_proxy_flags,
    kube_proxy_options,
)
from kns.cli.lab_files import existing_files
from kns.cli.object_files import contents_or_labs
from kns.cli.output import output_option, print_json, print_text
from kns.cli.streams import say, say_problems
from kns.cluster.manifests import load_objects
from kns.cluster.resolve import resolve
from kns.errors import UsageError
from kns.experiment.migrate.migrate import migrate
from kns.experiment.migrate.prove import Proof, prove
from kns.experiment.migrate.world import with_bridge_addresses, world
from kns.experiment.setting import ProxySetting, proxy_setting
from kns.kinds.load import is_lab_text, load_files
from kns.kinds.networking import EXTERNAL_IPS_GATE_SINCE, FeatureGates, KubeProxyOptions
from kns.kinds.release import Release
from kns.report.migrate import migration_json, migration_text


def _setting(_context: click.Context, _parameter: click.Parameter, value: str) -> ProxySetting:
    return proxy_setting(value)


@click.command(cls=KubeProxyCommand)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--from", "before", required=True, callback=_setting, metavar="MODE[@V]", help="What it is now."
)
@click.option(
    "--to", "after", required=True, callback=_setting, metavar="MODE[@V]", help="What it will be."
)
@click.option("--node", metavar="NAME", help="Look at this node alone; default: all that matter.")
@click.option("--prove", "proves", is_flag=True, help="Try each difference in the lab, both ways.")
@output_option("json")
@kube_proxy_flags
def command(
    files: tuple[str, ...],
    before: ProxySetting,
    after: ProxySetting,
    output: str | None,
    **flags: Any,
) -> int:
    """What another mode or release of kube-proxy changes, for which Services and whom.

    FILE is what `kubectl get svc,endpointslices,nodes,servicecidrs -A -o yaml` (or json) prints, or
    a lab's file; `-` is stdin. MODE is iptables, ipvs or nftables, V a release such as 1.30. Needs
    no root, but with --prove, which builds the lab in both. The options below are kube-proxy's own;
    a lab's are in its file.
    Exits with 1 if something differs.

    \b
      kubectl get svc,endpointslices,nodes,servicecidrs -A -o yaml |
        kns migrate - --from iptables@1.30 --to nftables@1.37
      kns migrate labs/migration.yaml --from iptables@1.30 --to nftables@1.37 \\
        --prove
    """
    texts = contents_or_labs(files)
    is_lab = any(is_lab_text(content, name) for name, content in texts)
    if is_lab:
        _refuse_flags(click.get_current_context())
        cluster = with_bridge_addresses(resolve(load_files(texts).spec).cluster)
    else:
        objects = load_objects(texts)
        say_problems(objects.warnings)
        newest = max(before.release, after.release)
        before, after = (_with_flags(setting, newest, flags) for setting in (before, after))
        cluster = world(objects, before.options(KubeProxyOptions()))
    found = migrate(cluster, before, after, flags["node"])
    proofs: tuple[Proof, ...] = ()
    if flags["proves"]:
        if not is_lab or "-" in files:
            raise UsageError("--prove builds a lab", hint="name a lab file")
        proofs = prove(existing_files(files), cluster, found, say)
    if output == "json":
        print_json(migration_json(found, proofs))
    else:
        print_text(migration_text(found, proofs))
    return EXIT_FAILED if found.differences else 0


def _refuse_flags(context: click.Context) -> None:
    """UsageError for kube-proxy's options beside a lab, whose file has them."""
    given = given_flags(context)
    if given:
        hint = "write it under networking.kubeProxy in the file"
        raise UsageError(f"{given[0]} is not for a lab file, which says so itself", hint=hint)


def _with_flags(setting: ProxySetting, newest: Release, flags: Mapping[str, Any]) -> ProxySetting:
    """The setting with what the flags mean in its release; a gate counts where there is one."""
    if setting.release < EXTERNAL_IPS_GATE_SINCE <= newest:
        flags = {**flags, "feature_gates": FeatureGates()}
    options = kube_proxy_options(flags, setting.mode, setting.release)
    return replace(setting, own_options=options)
