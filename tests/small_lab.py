"""A lab of machines for tests: Linux namespaces of one computer, on a network of their own.

Each machine has its own processes, network address, host name, home folder, temporary folder and ssh daemon,
and all of them see the lab's folder under one path, so what is tested has two real ends. It matters that they
are apart: `ray stop` ends every Ray of the machine it is called on, also those of somebody's work. When the
lab is left, and even when the tests are killed, everything in it dies with its first process.
"""

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

NEEDED = ("ip", "mount", "nsenter", "rsync", "setpriv", "ssh", "ssh-keygen", "sshd", "unshare")
PROJECT = Path(__file__).resolve().parent.parent
APART = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")

NETWORK = """
set -e
mount -t tmpfs none /run
mkdir -p /run/sshd /run/netns
ip link add lab type bridge
ip addr add 10.77.0.254/24 dev lab
ip link set lab up
number=1
for name in "$@"; do
    ip netns add "$name"
    ip link add "to-$name" type veth peer name eth0 netns "$name"
    ip link set "to-$name" master lab up
    ip -n "$name" link set lo up
    ip -n "$name" addr add "10.77.0.$number/24" dev eth0
    ip -n "$name" link set eth0 up
    ip -n "$name" route add default via 10.77.0.254
    number=$((number + 1))
done
touch /run/ready
exec sleep infinity
"""

MACHINE = """
set -e
name=$1 folder=$2 home=$3
shift 3
hostname "$name"
for kept in "$@"; do
    mkdir -p "$folder/root$kept"
    mount --bind "$kept" "$folder/root$kept"
done
mkdir -p "$folder/root$home" "$folder/root/tmp"
mount --rbind "$folder/root$home" "$home"
mount --rbind "$folder/root/tmp" /tmp
exec "$(command -v sshd)" -D -e -f "$folder/sshd_config"
"""

SSHD = """
ListenAddress {address}
HostKey {host_key}
AuthorizedKeysFile {authorized}
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One machine of the lab."""

    name: str
    address: str
    pid: int
    """Its first process, as the computer counts."""
    home: Path
    """Where its home folder is, seen from outside."""

    def run(self, command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command on it, as somebody who sits before it."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts", "--"]
        return subprocess.run(
            [*enter, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            cwd="/",
            env=clean_environment(),
        )

    def processes(self) -> list[str]:
        """What runs on it beside its ssh daemon."""
        here = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for process in psutil.process_iter():
            try:
                if os.readlink(f"/proc/{process.pid}/ns/pid") == here and process.name() != "sshd":
                    found.append(" ".join(process.cmdline()) or process.name())
            except (OSError, psutil.Error):  # it has ended meanwhile
                continue
        return found


def why_not() -> str:
    """Why there can be no lab here; empty if there can."""
    missing = [name for name in NEEDED if not shutil.which(name, path=search_path())]
    if missing:
        return f"a lab needs {', '.join(missing)}"
    if os.getuid() != 0:
        return "only root may make network namespaces"
    tried = subprocess.run(
        ["unshare", "--net", *APART, "ip", "link", "add", "lab", "type", "bridge"],
        capture_output=True,
        text=True,
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


def search_path() -> str:
    """Where commands are looked for: daemons are not on everybody's PATH."""
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def clean_environment() -> dict[str, str]:
    """The environment of a fresh login, without what this very run was told."""
    return {"PATH": search_path(), "HOME": pwd.getpwuid(os.getuid()).pw_dir, "LANG": "C.UTF-8"}


@contextmanager
def lab(folder: Path, names: Sequence[str]) -> Iterator[list[Machine]]:
    """Machines of these names, 10.77.0.1 and on; all let in who has the key `folder/key`."""
    make_key(folder / "key")
    apart = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", *APART]
    with ExitStack() as stack:
        network = stack.enter_context(running([*apart, "bash", "-c", NETWORK, "-", *names]))
        first = first_process(network, "sleep")
        machines = []
        for number, name in enumerate(names, start=1):
            address = f"10.77.0.{number}"
            process = stack.enter_context(running(machine_command(folder, name, address, first)))
            home = folder / name / "root" / clean_environment()["HOME"].lstrip("/")
            pid = first_process(process, "sshd")
            machines.append(Machine(name=name, address=address, pid=pid, home=home))
        yield machines


def machine_command(folder: Path, name: str, address: str, network: int) -> list[str]:
    """What starts a machine in the network whose first process is given; its folder is made."""
    own = folder / name
    own.mkdir()
    make_key(own / "host_key")
    settings = SSHD.format(address=address, host_key=own / "host_key", authorized=folder / "key.pub")
    (own / "sshd_config").write_text(settings)
    home = clean_environment()["HOME"]
    enter = ["nsenter", "--target", str(network), "--mount", "--pid", "--"]
    enter += ["nsenter", f"--net=/run/netns/{name}", "--", "unshare", "--uts", *APART]
    return [*enter, "bash", "-c", MACHINE, "-", name, str(own), home, *kept_folders(folder, home)]


def kept_folders(folder: Path, home: str) -> list[str]:
    """What lies in home or the temporary folder and must be there on the machines too."""
    wanted = {str(folder), str(PROJECT), sys.prefix, sys.base_prefix}
    return [
        path
        for path in sorted(wanted)
        if Path(path).is_relative_to(home) or Path(path).is_relative_to("/tmp")
    ]


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen]:
    """A process that says nothing, ended at the end."""
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **silent, env=clean_environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def first_process(process: subprocess.Popen, name: str) -> int:
    """The process of this name that a chain of starters ends in."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert process.poll() is None, f"{process.args} ended"
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.name() == name:
                return child.pid
        time.sleep(0.05)
    raise TimeoutError(f"{name} did not start")


def make_key(path: Path) -> None:
    """A key pair without a password."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
