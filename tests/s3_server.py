"""moto's S3 server: ``python s3_server.py PORT [HEADER …]``. Headers that are named do not reach it."""

import logging
import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

logging.getLogger("werkzeug").setLevel(logging.ERROR)
port, *forgets = sys.argv[1:]
app = DomainDispatcherApplication(create_backend_app)


def without(environ: dict, start_response: object) -> object:
    for name in forgets:
        environ.pop(f"HTTP_{name.upper().replace('-', '_')}", None)
    return app(environ, start_response)


run_simple("127.0.0.1", int(port), without, threaded=True)
