"""The environment of the tests. A plugin: Django's settings are read before any conftest.

Removes all MARU_ variables, so that no test uses the data or services of another
installation on this machine.
"""

import atexit
import os
import shutil
import tempfile

import tests.deadlines  # measures the machine while no test is running
import tests.prepared

for _name in [name for name in os.environ if name.startswith("MARU_")]:
    del os.environ[_name]
os.environ["MARU_DATA_DIR"] = tempfile.mkdtemp(prefix="maru-test-")
os.environ["MARU_RATE_LIMITS"] = "off"
atexit.register(shutil.rmtree, os.environ["MARU_DATA_DIR"], ignore_errors=True)
tests.prepared.root()  # before there are other processes, which inherit it
