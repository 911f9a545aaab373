"""Runs the programs of docs/serve/python.md and javascript.md as they are there, and compares what they print.

usage: first_event.py JETSINK NATS_SERVER PYTHON NODE NODE_MODULES
"""

import os
import re
import subprocess
import sys
import tempfile

from running import Broker, Gateway

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/serve")


def block(page, language):
    """The text of the first block in a language, without its indentation."""
    found = re.search(rf"^( *)```{language}\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    lines = found[2].splitlines()
    return "\n".join(line.removeprefix(found[1]) for line in lines) + "\n"


def check(name, language, suffix, interpreter, folder, jetsink, nats_server):
    with open(os.path.join(DOCS, name)) as file:
        page = file.read()
    program = os.path.join(folder, f"send{suffix}")
    printed = "".join(line for line in block(page, "console").splitlines(True) if not line.startswith("$"))
    with tempfile.TemporaryDirectory() as scratch:
        broker = Broker(nats_server, scratch)
        broker.create_stream(jetsink, subjects="shop.>")
        gateway = Gateway(jetsink, broker, "--spool", os.path.join(scratch, "spool"), subject="shop.{tenantId}")
        try:
            with open(program, "w") as file:
                file.write(block(page, language).replace("http://127.0.0.1:8080", gateway.events))
            seen = subprocess.run([interpreter, program], cwd=folder, capture_output=True, text=True)
            assert seen.stdout == printed, (name, printed, seen.stdout, seen.stderr)
        finally:
            gateway.stop()
            broker.kill()
    print(f"docs/serve/{name} prints\n{printed}")


def main():
    jetsink, nats_server, python, node, modules = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        check("python.md", "python", ".py", python, folder, jetsink, nats_server)
        os.symlink(modules, os.path.join(folder, "node_modules"))
        check("javascript.md", "javascript", ".mjs", node, folder, jetsink, nats_server)


main()
