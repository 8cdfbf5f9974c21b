"""A real one-node Slurm, a real PostgreSQL, a real bubblewrap and a real browser for tests, from the system or from
unpacked Debian packages.
"""

import contextlib
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil

CONFIGURATION = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmctldParameters=preempt_send_user_signal
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdTimeout=10
SlurmdParameters=config_overrides
SlurmdSpoolDir={spool}/%n
StateSaveLocation={folder}/state
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=1
KillWait=10
MinJobAge=86400
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.txt
{nodes}
PartitionName=train Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace}
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 Boards=1 SocketsPerBoard=1"
    " CoresPerSocket=2 ThreadsPerCore=1 RealMemory=4000"
)


def unpacked(packages: list[str], folder: Path, without: tuple[str, ...] = ()) -> Path:
    """The root of a tree with `packages` and the dependencies that the system lacks; no root needed, nothing installed.

    Packages whose names begin with one of `without` are left out.
    """
    root = folder / hashlib.sha256(repr((packages, without)).encode()).hexdigest()[:16]
    if root.is_dir():
        return root
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise RuntimeError(f"no apt-get or dpkg-deb here to fetch {' '.join(packages)}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        debs, tree = Path(scratch, "debs"), Path(scratch, "tree")
        for each in (debs, tree, Path(scratch, "lists/partial"), Path(scratch, "cache/archives/partial")):
            each.mkdir(parents=True)
        system = ["-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1"]
        own = [*system, "-o", f"Dir::State::lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]

        def apt(*arguments: str) -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, "LC_ALL": "C"}
            return subprocess.run(["apt-get", *arguments], cwd=debs, env=environment, capture_output=True, text=True)

        for options in (system, own):
            if options is own:
                apt(*options, "update")
            done = apt(*options, "-s", "--no-install-recommends", "install", *packages)
            if done.returncode == 0:
                names = {*packages, *re.findall(r"^Inst (\S+)", done.stdout, re.MULTILINE)}
                done = apt(*options, "download", *sorted(name for name in names if not name.startswith(without)))
            if done.returncode == 0:
                break
        else:
            raise RuntimeError(f"apt-get cannot fetch {' '.join(packages)} (offline?): {done.stderr.strip()[-800:]}")
        for deb in sorted(debs.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(tree)], check=True)
        tree.chmod(0o755)
        with contextlib.suppress(OSError):  # somebody else was first
            tree.rename(root)
    return root


class Server:
    """What both servers share: a context manager over child processes that end with their parent."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache.absolute()
        self.env: dict[str, str] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> object:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def _run(
        self, name: str, command: list[str], log: Path, ready: Callable[[], bool], cwd: Path, seconds: float = 30
    ) -> None:
        with log.open("ab") as out:
            child = subprocess.Popen(command, cwd=cwd, env=self.env, stdin=-3, stdout=out, stderr=out, process_group=0)
        self._children[name] = child
        end = time.monotonic() + seconds
        while not ready():
            if child.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{name} is not ready:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def _end(self, name: str, signal_number: int = signal.SIGTERM) -> None:
        if child := self._children.pop(name, None):
            child.send_signal(signal_number)
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class Slurm(Server):
    """slurmctld and slurmd in `folder`; `env` is for sbatch, squeue and the like."""

    def __init__(self, folder: Path, cache: Path, grace: int = 20, extra: str = "", nodes: int = 1) -> None:
        super().__init__(cache)
        self.folder, self.grace, self.extra = folder.absolute(), grace, extra
        self.host = socket.gethostname().split(".")[0]
        self.nodes = [self.host] if nodes == 1 else [f"n{i + 1}" for i in range(nodes)]

    def start(self) -> dict[str, str]:
        root, libraries = Path("/"), os.environ.get("LD_LIBRARY_PATH", "")
        if not all(Path(f"/usr/sbin/{name}-wlm").exists() for name in ("slurmctld", "slurmd", "slurmstepd")):
            root = unpacked(["slurmctld", "slurmd", "slurm-client"], self.cache)
            libraries = library_path(root)
        plugins = next(root.glob("usr/lib/*-linux-gnu/slurm-wlm"))
        self._programs = root / "usr/sbin"
        self._spool = Path(tempfile.mkdtemp(prefix="slurmd-", dir="/tmp"))
        (self.folder / "state").mkdir(parents=True, exist_ok=True)
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SQUEUE"))},
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{root / 'usr/bin'}{os.pathsep}{os.environ['PATH']}",
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(plugins), libraries])),
        }
        values: dict[str, object] = {
            "host": self.host,
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "ports": free_ports(1 + len(self.nodes)),
        }
        ports = values["ports"]
        assert isinstance(ports, list)
        values["nodes"] = "\n".join(
            NODE.format(name=name, host=self.host, port=port) for name, port in zip(self.nodes, ports[1:], strict=True)
        )
        values |= {"folder": self.folder, "spool": self._spool, "plugins": plugins, "grace": self.grace}
        Path(self.env["SLURM_CONF"]).write_text(f"{CONFIGURATION.format(**values)}{self.extra}\n")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        return self.env

    def start_node(self, node: str) -> None:
        """A slurmd for this node, which the controller then finds idle."""
        (self._spool / node).mkdir(exist_ok=True)
        idle = lambda: self.command("sinfo", "-h", "-n", node, "-o", "%T").strip() == "idle"  # noqa: E731
        self._daemon("slurmd", idle, "-N", node, "-d", str(self._programs / "slurmstepd-wlm"), name=f"slurmd {node}")

    def kill_node(self, node: str) -> None:
        """As a machine that loses its power: its daemon and all that runs on it are gone at once, without a word."""
        daemon = self._children.pop(f"slurmd {node}")
        daemon.kill()
        daemon.wait()
        mine = [one for one in psutil.process_iter() if self._runs_on(one, node)]
        steps = [one.parent() for one in mine]
        for one in [*mine, *(step for step in steps if step and step.name().startswith("slurmstepd"))]:
            with contextlib.suppress(psutil.Error):
                one.kill()

    def _runs_on(self, process: psutil.Process, node: str) -> bool:
        with contextlib.suppress(psutil.Error):
            told = process.environ()
            return bool((told.get("SLURMD_NODENAME"), told.get("SLURM_CONF")) == (node, self.env["SLURM_CONF"]))
        return False

    def stop(self) -> None:
        if "slurmctld" in self._children and (jobs := self.command("squeue", "-h", "-o", "%A").split()):
            self.command("scancel", "--full", "--signal=KILL", *jobs)
            self.command("scancel", *jobs)
            end = time.monotonic() + 30
            while self.command("squeue", "-h").strip() and time.monotonic() < end:
                time.sleep(0.1)
        for node in self.nodes:
            self._end(f"slurmd {node}")
        self._end("slurmctld")
        if hasattr(self, "_spool"):
            shutil.rmtree(self._spool, ignore_errors=True)

    def command(self, *arguments: str) -> str:
        """What a Slurm command prints on both streams, whatever its exit code."""
        return subprocess.run(arguments, env=self.env, stdout=-1, stderr=-2, text=True, timeout=120).stdout

    def start_controller(self) -> None:
        self._daemon("slurmctld", lambda: " UP" in self.command("scontrol", "ping"))

    def stop_controller(self) -> None:
        self._end("slurmctld")

    def restart_controller(self) -> None:
        self.stop_controller()
        self.start_controller()

    def node_down(self) -> None:
        self.command("scontrol", "update", f"NodeName={self.host}", "State=DOWN", "Reason=test")

    def node_up(self) -> None:
        self.command("scontrol", "update", f"NodeName={self.host}", "State=RESUME")

    def _daemon(self, program: str, ready: Callable[[], bool], *options: str, name: str = "") -> None:
        name = name or program
        command = ["setpriv", "--pdeathsig", "TERM", str(self._programs / f"{program}-wlm"), "-D", *options]
        self._run(name, command, self.folder / f"{name.replace(' ', '-')}.out", ready, self.folder)


class Postgres(Server):
    """A PostgreSQL server on 127.0.0.1, its database and its user named postgres, no password; run
    as nobody by root.
    """

    url: str

    def start(self) -> str:
        programs, libraries = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")), ""
        if not programs:
            root = unpacked(["postgresql"], self.cache, without=("libllvm", "libz3", "perl", "libperl", "locales"))
            programs, libraries = sorted(root.glob("usr/lib/postgresql/*/bin/postgres")), library_path(root)
        folder = self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.env = {**os.environ, "LD_LIBRARY_PATH": libraries, "LC_ALL": "C.UTF-8"}
        run = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            run += [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        initdb = [*run, str(programs[-1].with_name("initdb")), "-D", str(folder / "data"), "--no-sync"]
        initdb += ["--username=postgres", "--auth=trust", "--encoding=UTF8"]
        made = subprocess.run(initdb, cwd=folder, env=self.env, capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stdout[-1000:]}{made.stderr[-2000:]}")
        (port,) = free_ports(1)
        server = [*run, str(programs[-1]), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder), "-F"]
        ask = [str(programs[-1].with_name("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(port)]
        ready = lambda: subprocess.run(ask, env=self.env).returncode == 0  # noqa: E731
        self._run("postgres", [*server, "-h", "127.0.0.1"], folder / "log", ready, folder)
        self.url = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
        return self.url

    def stop(self) -> None:
        self._end("postgres", signal.SIGINT)
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder, ignore_errors=True)


def bubblewrap(cache: Path) -> Path:
    """bubblewrap's program, after it was seen to work; RuntimeError when this machine's kernel refuses it."""
    program = shutil.which("bwrap") or str(unpacked(["bubblewrap"], cache.absolute()) / "usr/bin/bwrap")
    done = subprocess.run([program, "--unshare-all", "--bind", "/", "/", "true"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program} says: {done.stderr.strip()}")
    return Path(program)


def library_path(root: Path) -> str:
    folders = [folder for pattern in ("usr/lib/*-linux-gnu", "lib/*-linux-gnu") for folder in root.glob(pattern)]
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def browser(cache: Path) -> tuple[str, dict[str, str]]:
    """A Chromium and the environment it needs: the system's, or one from unpacked packages."""
    if system := shutil.which("chromium") or shutil.which("chromium-browser"):
        return system, {}
    root = unpacked(["chromium", "fonts-wqy-zenhei"], cache)
    pulse = [str(folder) for folder in root.glob("usr/lib/*-linux-gnu/pulseaudio")]
    environment = {
        "LD_LIBRARY_PATH": os.pathsep.join([library_path(root), *pulse]),
        "XDG_DATA_DIRS": f"{root}/usr/share",
    }
    if (fonts := root / "etc/fonts/fonts.conf").is_file():
        environment["FONTCONFIG_FILE"] = str(fonts)
    return str(root / "usr/lib/chromium/chromium"), environment


class Ray(Server):
    """A Ray cluster of `nodes` raylets on this machine; `address` is its dashboard's."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        super().__init__(folder)
        # Ray's sockets lie below its folder, and their names may be no longer than 107 bytes.
        self.folder, self.count = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp")), nodes
        self.port, self.board = free_ports(2)
        self.address = f"http://127.0.0.1:{self.board}"
        self.env = {**os.environ, "RAY_raylet_start_wait_time_s": "150", "RAY_USAGE_STATS_ENABLED": "0"}

    def start(self) -> str:
        head = [f"--port={self.port}", f"--dashboard-port={self.board}", "--dashboard-host=127.0.0.1", "--head"]
        self._ray("head", [*head, f"--temp-dir={self.folder}"])
        for number in range(1, self.count):
            self.start_node(number)
        return self.address

    def start_node(self, number: int) -> None:
        self._ray(f"node {number}", [f"--address=127.0.0.1:{self.port}"])

    def _ray(self, name: str, options: list[str]) -> None:
        import ray  # noqa: F401  # what is not installed is told before anything is started

        before = {row["node_id"] for row in self._alive()}  # one that was just killed may be among them for a while
        common = ["--num-cpus=2", "--node-ip-address=127.0.0.1", "--object-store-memory=80000000", "--block"]
        program = str(Path(sys.executable).with_name("ray"))
        command = ["setpriv", "--pdeathsig", "TERM", program, "start", *common, *options]
        ready = lambda: any(row["node_id"] not in before for row in self._alive())  # noqa: E731
        self._run(name, command, self.folder / f"{name.replace(' ', '-')}.out", ready, Path("/tmp"), seconds=150)

    def _alive(self) -> list[dict[str, object]]:
        """Nodes that the cluster has, as its dashboard tells; none where it does not answer yet."""
        import json
        from urllib.request import urlopen

        with contextlib.suppress(OSError, ValueError):
            with urlopen(f"{self.address}/api/v0/nodes", timeout=10) as answer:
                rows = json.load(answer)["data"]["result"]["result"]
            return [row for row in rows if row["state"] == "ALIVE"]
        return []

    def kill_node(self, number: int) -> str:
        """All processes of a node at once, without a word; returns its id."""
        command = self._children.pop(f"node {number}")
        mine = psutil.Process(command.pid).children(recursive=True)
        (raylet,) = [one for one in mine if one.name() == "raylet"]
        (node,) = set(re.findall(r"--node[_-]id=(\w+)", " ".join(raylet.cmdline())))
        command.kill()
        for one in mine:
            with contextlib.suppress(psutil.Error):
                one.kill()
        command.wait()
        return str(node)

    def stop(self) -> None:
        for name in reversed(list(self._children)):
            children = psutil.Process(self._children[name].pid).children(recursive=True)
            self._end(name)
            for one in children:
                with contextlib.suppress(psutil.Error):
                    one.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class S3(Server):
    """An HTTP server that speaks the S3 protocol, moto's, with one empty bucket. ``env`` is for who asks it.

    ``forgets``: names of request headers that do not reach it, as of a server that knows no conditional writes.
    """

    BUCKET = "s3://factory"

    def __init__(self, folder: Path, forgets: tuple[str, ...] = ()) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1)
        self.forgets = forgets
        self.address = f"http://127.0.0.1:{self.port}"
        self.env = {
            **os.environ,
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> str:
        program = [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(self.port), *self.forgets]
        self._run(
            "S3", ["setpriv", "--pdeathsig", "TERM", *program], self.cache / "s3.log", self._answers, Path("/tmp")
        )
        self.empty()
        return self.address

    def empty(self) -> None:
        """Forget everything, and have the bucket again."""
        self._ask("POST", "/moto-api/reset")
        self._ask("PUT", "/factory")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            self._ask("GET", "/moto-api/")
            return True
        return False

    def _ask(self, method: str, path: str) -> None:
        from urllib.request import Request, urlopen

        with urlopen(Request(self.address + path, method=method), timeout=20) as answer:
            answer.read()

    def stop(self) -> None:
        self._end("S3")
