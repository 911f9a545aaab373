"""Compares a running gateway with its OpenAPI documents, by requests that schemathesis makes from them.

usage: openapi.py JETSINK NATS_SERVER DOCUMENTS
An answer that the document does not describe fails, and so does a request that
violates the document and is accepted, or follows it and is refused.
"""

import os
import subprocess
import sys
import tempfile

from running import Broker, Gateway

# A 503 or 504 is documented; another 5xx does not conform.
CHECKS = [
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
]


def check(document, address, scratch):
    folder = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", os.path.join(folder, "schemathesis.toml")]
    command += ["run", document, "--url", address, "--checks", ",".join(CHECKS)]
    command += ["--phases", "examples,coverage,fuzzing", "--mode", "all", "--continue-on-failure"]
    command += ["--max-examples", "200", "--seed", "1", "--generation-database", "none"]
    # schemathesis leaves files in its folder.
    subprocess.run(command, check=True, cwd=scratch, env={**os.environ, "SCHEMATHESIS_HOOKS": os.path.join(folder, "hooks.py")})


def main():
    jetsink, nats_server, documents = map(os.path.abspath, sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        broker = Broker(nats_server, scratch)
        try:
            broker.create_stream(jetsink)
            gateway = Gateway(jetsink, broker)
            try:
                check(os.path.join(documents, "events.yaml"), gateway.events, scratch)
                check(os.path.join(documents, "admin.yaml"), gateway.admin, scratch)
            finally:
                gateway.stop()
        finally:
            broker.kill()


main()
