"""What Ray is here, and which cluster can be joined: run as a process of its own by `framebank doctor`, since
an address where nobody answers may hold up whoever asks for minutes.

It prints one line of JSON: `version`; `address` and `resources` of the cluster it joined, or `alone`.
"""

import json
import logging
import os
import sys
from typing import Any

import ray


def look() -> dict[str, Any]:
    """The version, and the cluster that RAY_ADDRESS names or this machine runs; none is started."""
    named = os.environ.get("RAY_ADDRESS", "")
    try:
        ray.init(address=named or "auto", logging_level=logging.ERROR, log_to_driver=False)
    except ConnectionError:
        if named:
            raise
        return {"version": ray.__version__, "alone": True}
    nodes = [node for node in ray.nodes() if node["Alive"]]
    resources = {name: ray.cluster_resources().get(name, 0.0) for name in ("CPU", "GPU")}
    return {"version": ray.__version__, "nodes": len(nodes), **resources}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look()) + "\n")
