"""Sends 50 events a second to a gateway until it is ended; one in 25 is invalid.

usage: load.py GATEWAY
"""

import http.client
import itertools
import json
import sys
import time

address = sys.argv[1].removeprefix("http://")
connection = http.client.HTTPConnection(address, timeout=5)
for number in itertools.count():
    event = {"specversion": "1.0", "id": str(number), "source": "/load", "type": "t" if number % 25 else ""}
    try:
        connection.request("POST", "/", json.dumps(event), {"content-type": "application/cloudevents+json"})
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        connection.close()
    time.sleep(0.02)
