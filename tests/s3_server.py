"""moto's S3 server: ``python s3_server.py PORT [HEADER …]``. Headers that are named do not reach it.

``S3_DELAY_MS``: how long each answer takes at least. ``GET /requests``: how many there were.
"""

import itertools
import logging
import os
import sys
import time

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

logging.getLogger("werkzeug").setLevel(logging.ERROR)
port, *forgets = sys.argv[1:]
app = DomainDispatcherApplication(create_backend_app)
delay, count = float(os.environ.get("S3_DELAY_MS", "0")) / 1000, itertools.count()


def served(environ: dict, start_response: object) -> object:
    if environ["PATH_INFO"] == "/requests":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(next(count)).encode()]
    next(count)
    time.sleep(delay)
    for name in forgets:
        environ.pop(f"HTTP_{name.upper().replace('-', '_')}", None)
    return app(environ, start_response)


run_simple("127.0.0.1", int(port), served, threaded=True)
