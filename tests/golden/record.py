"""python -m tests.golden.record: writes the first updates that the test compares with.

Only a change of numbers on purpose is a reason to; CHANGELOG says which and why.
"""

import json

from tests.golden.runs import IN_CI, RECORDED, first_updates

if __name__ == "__main__":
    RECORDED.write_text(json.dumps({name: first_updates(name) for name in IN_CI}, indent=1) + "\n")
