"""Where a lab keeps its files. None of them is needed to remove the lab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: all labs' files, as the design lays them out
RUN_DIR = Path("/run/kns")


@dataclass(frozen=True, slots=True)
class LabPaths:
    """The files of one lab, below a folder of mode 0700."""

    lab: str

    @property
    def folder(self) -> Path:
        """The lab's own folder."""
        return RUN_DIR / self.lab

    @property
    def spec(self) -> Path:
        """A copy of the lab file, as `up` last applied it."""
        return self.folder / "lab.yaml"

    @property
    def leases(self) -> Path:
        """What was handed out: addresses, cluster IPs, node ports."""
        return self.folder / "leases.json"

    @property
    def objects(self) -> Path:
        """The journal of the objects that the agent holds."""
        return self.folder / "objects.log"

    @property
    def objects_base(self) -> Path:
        """The objects as the file has them."""
        return self.folder / "objects.base"

    @property
    def snapshot(self) -> Path:
        """The resolved cluster, so that not each command resolves it again."""
        return self.folder / "cluster.snapshot"

    @property
    def options(self) -> Path:
        """What `up`'s own options changed in the lab (`--proxy-mode`)."""
        return self.folder / "options.json"

    @property
    def faults(self) -> Path:
        """The faults as a command has set them since `up`; absent: those of the file."""
        return self.folder / "faults.json"

    @property
    def socket(self) -> Path:
        """The agent's socket."""
        return self.folder / "agent.sock"

    @property
    def api_socket(self) -> Path:
        """The API's socket, for kns' own verbs: whoever may open it may do anything."""
        return self.folder / "api.sock"

    @property
    def api(self) -> Path:
        """The folder of the API's certificate, token and port."""
        return self.folder / "api"

    @property
    def pid(self) -> Path:
        """The agent's pid, for people; kns itself finds it by its netns."""
        return self.folder / "agent.pid"

    @property
    def log(self) -> Path:
        """The agent's log."""
        return self.folder / "agent.log"

    @property
    def lock(self) -> Path:
        """The lock that every command that changes the lab holds.

        Beside the folder, not in it: a lock that `down` unlinks while another process waits for
        it would be held by two.
        """
        return RUN_DIR / f".{self.lab}.lock"

    @property
    def logs(self) -> Path:
        """The folder of the containers' logs."""
        return self.folder / "logs"

    def component(self, name: str) -> Path:
        """The folder of a component's (nginx, BIRD, HAProxy) configuration."""
        return self.folder / "components" / name

    @property
    def tls(self) -> Path:
        """The folder of the lab's CA and of the certificates of its Ingresses."""
        return self.folder / "tls"

    @property
    def trusted(self) -> Path:
        """The certificates that the lab's clients trust: its CA, and those that its file brings."""
        return self.tls / "trusted.pem"

    @property
    def etc_file(self) -> Path:
        """The files of every netns: resolv.conf, hosts, nsswitch.conf and env, in one."""
        return self.folder / "etc.json"

    @property
    def etc(self) -> Path:
        """The folder of those netns whose files are unpacked."""
        return self.folder / "etc"

    def pod_etc(self, netns: str) -> Path:
        """The folder of a netns' files, if they are unpacked (`kns.engine.etc`)."""
        return self.etc / netns
