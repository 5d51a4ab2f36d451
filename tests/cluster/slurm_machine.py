"""A Slurm of its own on one machine: munge, MariaDB, slurmdbd, slurmctld and two slurmd, all in one folder.

Nothing outside the folder is written: keys, sockets, ports, configuration and state are this Slurm's own, so that it
runs next to a real one. Commands find it by the environment variable ``SLURM_CONF``.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

#: Commands without which there is no Slurm here, and the package of Debian that each is in.
PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
#: The node of jobs, and one that is drained until a test stops the first one.
NODE, SPARE = "gpunode", "sparenode"
ACCOUNT = "bench"
#: Larger than this machine is: requests of the profiles fit, and nothing here enforces them.
NODE_CPUS, NODE_MIB, NODE_GPUS = 32, 250_000, 2
#: Devices in place of GPUs: Slurm allocates character devices only, and everyone may use these.
DEVICES = ("/dev/null", "/dev/zero")
#: Seconds in which a daemon must answer.
START_TIMEOUT_S = 60.0

SLURM_CONF = """\
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
MpiDefault=none
# No control groups: they need privileges that a container lacks. Processes are found by their parents.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# Use the description of the node below, rather than what the machine has.
SlurmdParameters=config_overrides
GresTypes=gpu
# A node taken down stays down until it is resumed.
ReturnToService=0
# Seconds from SIGTERM to SIGKILL when a job is cancelled or out of time.
KillWait=10
# Killed at its limit, not a minute after it.
OverTimeLimit=0
SchedulerParameters=bf_interval=5,sched_interval=5
# How long `sbatch` and others try to reach a controller that is not there.
MessageTimeout=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
# Not a password: munge's socket again, for calls to slurmdbd, which do not read AuthInfo.
AccountingStoragePass={root}/munge.socket
# The comment names the rule of a job: tests read requests per rule from it.
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/none
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs={cpus} RealMemory={mib} Gres=gpu:{gpus}
NodeName={spare} NodeHostname={host} NodeAddr=127.0.0.1 Port={spare_port} CPUs={cpus} RealMemory={mib} Gres=gpu:{gpus}
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

SLURMDBD_CONF = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
PidFile={root}/slurmdbd.pid
LogFile={root}/slurmdbd.log
"""

GRES_CONF = "Name=gpu File={root}/gpu[0-{last_gpu}]\n"


class SlurmError(RuntimeError):
    """A daemon did not start or a command failed."""


def missing_programs() -> dict[str, str]:
    """Programs that a Slurm needs and this machine lacks, with their packages."""
    return {program: package for program, package in PROGRAMS.items() if shutil.which(program, path=path()) is None}


def path() -> str:
    """``PATH`` with the folders of daemons, which are not on every user's."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def wait_for(
    what: str, condition: Callable[[], bool], timeout_s: float = START_TIMEOUT_S, every_s: float = 0.2
) -> None:
    """Returns when the condition holds.

    Raises:
        SlurmError: it did not within ``timeout_s``.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise SlurmError(f"waited {timeout_s:.0f} s without success: {what}")
        time.sleep(every_s)


class SlurmMachine:
    """Daemons and commands of one Slurm, from :meth:`start` to :meth:`stop`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SACCT"))
        }
        # The plugin's jobs start `srun` without SLURM_CONF, which only a Slurm in /etc/slurm can do without.
        self.environment |= {"SLURM_CONF": str(root / "slurm.conf"), "PATH": f"{root / 'bin'}{os.pathsep}{path()}"}
        # Its GPUs are pretended: jobs that hold one compute on the processor, which has to be said.
        self.environment["HEMGS_DEVICE"] = "cpu"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = dict(zip(("ctld", "dbd", "sql", "node", "spare"), _free_ports(5)))

    # --- commands -----------------------------------------------------------------------------------------------

    def command(self, *words: str, check: bool = True) -> str:
        """Standard output of a Slurm command."""
        done = subprocess.run(
            words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )
        if check and done.returncode != 0:
            raise SlurmError(f"{' '.join(words)} exited with {done.returncode}: {done.stdout.strip()}")
        return done.stdout

    def answers(self, *words: str) -> bool:
        """Whether a command succeeds."""
        try:
            self.command(*words)
        except (SlurmError, subprocess.TimeoutExpired):
            return False
        return True

    def node_state(self, node: str) -> str:
        return self.command("sinfo", "-h", "-n", node, "-N", "-o", "%T").strip()

    def update_node(self, node: str, state: str) -> None:
        self.command("scontrol", "update", f"nodename={node}", f"state={state}", "reason=test")

    # --- daemons ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts all daemons, in the order in which they need each other; returns when jobs can be submitted.

        Raises:
            SlurmError: one of them does not answer; the message contains the end of its log.
        """
        self._write_configuration()
        self._start_munge()
        self._start_database()
        self._start("slurmdbd", "slurmdbd", "-D")
        self._await("slurmdbd", "sacctmgr", "-n", "list", "cluster")
        user = getpass.getuser()
        for words in (("cluster", "toy"), ("account", ACCOUNT, "cluster=toy"), ("user", user, f"account={ACCOUNT}")):
            self.command("sacctmgr", "-i", "add", *words)
        self.start_controller()
        for node in (NODE, SPARE):
            self._start(f"slurmd.{node}", "slurmd", "-D", "-N", node)
        wait_for("both nodes idle", lambda: {self.node_state(node) for node in (NODE, SPARE)} == {"idle"})
        self.update_node(SPARE, "drain")

    def start_controller(self) -> None:
        """Starts slurmctld and waits until it answers."""
        self._start("slurmctld", "slurmctld", "-D")
        self._await("slurmctld", "scontrol", "ping")

    def kill_controller(self) -> None:
        """Kills slurmctld as a crash would."""
        self._end("slurmctld", signal.SIGKILL)

    def stop(self) -> None:
        """Ends every daemon, and every job with its node."""
        if "slurmctld" in self._daemons:
            self.command("scancel", f"--user={getpass.getuser()}", check=False)
        for name in reversed(list(self._daemons)):
            self._end(name, signal.SIGTERM)
        for number in self._left_behind():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def _left_behind(self) -> list[int]:
        """Processes of jobs that Slurm gave up: those of a node that was declared down, and of a killed snakemake."""
        ours = f"SLURM_CONF={self.root / 'slurm.conf'}".encode()
        numbers = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if ours in (folder / "environ").read_bytes().split(b"\0"):
                    numbers.append(int(folder.name))
        return numbers

    def _start(self, name: str, *words: str, environment: dict[str, str] | None = None) -> None:
        with (self.root / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                words, env=environment or self.environment, stdout=output, stderr=subprocess.STDOUT, cwd=self.root
            )

    def _await(self, name: str, *words: str) -> None:
        """Waits until a command succeeds that the daemon ``name`` must answer."""

        def answered() -> bool:
            if self._daemons[name].poll() is not None:
                raise SlurmError(f"{name} ended at its start:\n{self._log_of(name)}")
            return self.answers(*words)

        try:
            wait_for(f"{name} answers", answered)
        except SlurmError as fault:
            raise SlurmError(f"{fault}\n{self._log_of(name)}") from fault

    def _log_of(self, name: str) -> str:
        logs = [self.root / f"{name}.{suffix}" for suffix in ("out", "log")]
        return "\n".join(log.read_text(errors="replace")[-2000:] for log in logs if log.is_file())

    def _end(self, name: str, how: signal.Signals) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(how)
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _start_munge(self) -> None:
        key = self.root / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={self.root / file}" for option, file in files.items()]
        # --force: sockets in a folder that others may read, and a daemon that is root's, are fine for a test.
        self._start("munged", "munged", "--foreground", "--force", *options, f"--log-file={self.root / 'munged.log'}")
        self._await("munged", "munge", "--no-input", f"--socket={self.root / 'munge.socket'}")

    def _start_database(self) -> None:
        data, sql = self.root / "mariadb", self.root / "mariadb.socket"
        user = getpass.getuser()
        # No configuration of the machine's own database, no system tables but those that are needed.
        self.command(
            "mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )  # fmt: skip
        self._start(
            "mariadbd", "mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}", f"--socket={sql}",
            "--bind-address=127.0.0.1", f"--port={self._ports['sql']}", f"--pid-file={self.root / 'mariadbd.pid'}",
        )  # fmt: skip
        client = ("mariadb", "--no-defaults", f"--socket={sql}", "--user=root", "-e")
        self._await("mariadbd", *client, "SELECT 1")
        self.command(*client, f"CREATE USER slurm@'127.0.0.1' IDENTIFIED BY '{self._password}'")
        self.command(*client, "GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1'")

    def _write_configuration(self) -> None:
        self._password = secrets.token_hex(8)
        values = {
            "root": self.root,
            "host": socket.gethostname().partition(".")[0],
            "user": getpass.getuser(),
            "password": self._password,
            "node": NODE,
            "spare": SPARE,
            "cpus": NODE_CPUS,
            "mib": NODE_MIB,
            "gpus": NODE_GPUS,
            "last_gpu": NODE_GPUS - 1,
            **{f"{name}_port": port for name, port in self._ports.items()},
        }
        for folder in ("bin", "state", f"spool.{NODE}", f"spool.{SPARE}"):
            (self.root / folder).mkdir(parents=True)
        wrapper = self.root / "bin" / "srun"
        srun = shutil.which("srun", path=path())
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.root / "slurm.conf"} exec {srun} "$@"\n')
        wrapper.chmod(0o755)
        for number, device in enumerate(DEVICES[:NODE_GPUS]):
            (self.root / f"gpu{number}").symlink_to(device)
        for name, text in (("slurm", SLURM_CONF), ("slurmdbd", SLURMDBD_CONF), ("gres", GRES_CONF)):
            file = self.root / f"{name}.conf"
            file.write_text(text.format(**values))
            file.chmod(0o600)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
