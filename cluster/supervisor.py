"""The first process of a pid namespace: starts components, reaps what it inherits, starts again what crashes.

A control socket lets tests play faults: a component can be stopped (and stays so), started, killed (and comes back by
itself), paused and resumed. There is one supervisor for the control plane and one for each node.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESTART_DELAY = 0.5
#: An API server with watches open would drain for a minute.
GRACE = 5.0
ACTIONS = ("status", "start", "stop", "kill", "pause", "resume")


@dataclass
class _Component:
    command: list[str]
    wanted: bool = True
    #: Held while it runs: a Popen object that is let go reaps its child, and `forever` would never learn of the end.
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None


class Supervisor:
    """Not to be used with `subprocess.run` once `forever` runs: it reaps every child of the process."""

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self._logs = logs
        self._environment = environment
        self._components: dict[str, _Component] = {}
        self._lock = threading.RLock()
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: list[str]) -> int:
        """Starts a new component and returns its process id in this namespace."""
        with self._lock:
            self._components[name] = _Component(command)
            return self._spawn(name)

    def serve(self, path: Path) -> None:
        """Answers on a unix socket, one JSON request a connection."""
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(8)
        threading.Thread(target=self._answer, args=(listener,), daemon=True).start()

    def forever(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.1)
                continue
            self._gone(pid, status)

    def _spawn(self, name: str) -> int:
        component = self._components[name]
        component.gone.clear()
        component.starts += 1
        with (self._logs / f"{name}.log").open("ab") as log:
            component.process = subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        return component.process.pid

    def _gone(self, pid: int, status: int) -> None:
        with self._lock:
            name = next((name for name, component in self._components.items() if component.pid == pid), None)
            if name is None:
                return
            component = self._components[name]
            if component.process is not None:
                component.process.returncode = os.waitstatus_to_exitcode(status)
            component.process = None
            component.gone.set()
            if component.wanted:
                threading.Timer(RESTART_DELAY, self._again, (name,)).start()

    def _again(self, name: str) -> None:
        with self._lock:
            component = self._components[name]
            if component.wanted and component.pid is None:
                self._spawn(name)

    def _answer(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rw") as stream:
                try:
                    request = json.loads(stream.readline())
                    reply = self.act(request["action"], request.get("component", ""))
                except (ValueError, KeyError, OSError) as wrong:
                    reply = {"error": str(wrong)}
                stream.write(json.dumps(reply) + "\n")

    def act(self, action: str, name: str) -> dict[str, Any]:
        if action == "status":
            with self._lock:
                return {name: {"pid": c.pid, "starts": c.starts} for name, c in self._components.items()}
        if action not in ACTIONS or name not in self._components:
            known = f"actions are {', '.join(ACTIONS)}, components {', '.join(self._components)}"
            return {"error": f"cannot {action} {name}: {known}"}
        component = self._components[name]
        with self._lock:
            if action == "start":
                component.wanted = True
                if component.pid is None:
                    self._spawn(name)
            elif action == "stop":
                component.wanted = False
                self._signal(component, signal.SIGCONT)
                self._signal(component, signal.SIGTERM)
            else:
                signals = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP, "resume": signal.SIGCONT}
                self._signal(component, signals[action])
        if action == "stop" and component.pid is not None and not component.gone.wait(GRACE):
            self._signal(component, signal.SIGKILL)
            component.gone.wait(GRACE)
        return {"component": name, "pid": component.pid}

    @staticmethod
    def _signal(component: _Component, number: signal.Signals) -> None:
        if component.pid is not None:
            os.kill(component.pid, number)


def ask(path: Path, action: str, component: str = "") -> dict[str, Any]:
    """Sends one request to a supervisor's socket, from inside or outside of its namespaces."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(4 * GRACE)
        connection.connect(str(path))
        with connection.makefile("rw") as stream:
            stream.write(json.dumps({"action": action, "component": component}) + "\n")
            stream.flush()
            reply: dict[str, Any] = json.loads(stream.readline())
            return reply
