"""A nats-server and a gateway on loopback, for the checks beside this file."""

import os
import socket
import subprocess
import time

PATIENCE = 20


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(condition, text):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, text
        time.sleep(0.05)


class Broker:
    """A nats-server whose store outlives it."""

    def __init__(self, binary, folder):
        port = free_port()
        self.command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]
        self.url = f"nats://127.0.0.1:{port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def create_stream(self, jetsink, subjects="events.>"):
        run = [jetsink, "stream", "apply", "--server", self.url, "--name", "EVENTS", "--subject", subjects]
        wait_for(lambda: subprocess.run(run, capture_output=True).returncode == 0, "no stream")


class Gateway:
    """`jetsink serve` with an address for events and one for operators."""

    def __init__(self, jetsink, broker, *flags, subject="events.all"):
        own = ("NATS_", "JETSINK_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        command = [jetsink, "serve", "--server", broker.url, "--subject", subject]
        command += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.events = self.note("listening on ")
        self.status = self.note("status at ")
        self.admin = self.status.removesuffix("/status")

    def note(self, name):
        for line in self.process.stderr:
            if name in line:
                return line.split(name)[1].strip()
        raise AssertionError("the gateway ended")

    def stop(self):
        self.process.terminate()
        self.process.wait()
