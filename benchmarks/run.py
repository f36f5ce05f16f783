"""One suite of `nws bench`, all of it: a JSON row a line, as they come.

python benchmarks/run.py engine > rows.json       engine about 3 minutes, sampling 5, fashion 4
python benchmarks/run.py engine --quick           seconds: does it run?
"""

from __future__ import annotations

import json
import sys

from nws.bench import suites

arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
if not arguments or not set(arguments) <= set(suites.SUITES):
    sys.exit(f"which suite? {', '.join(suites.SUITES)}")
for row in suites.run(arguments, quick="--quick" in sys.argv):
    print(json.dumps(row.to_dict()), flush=True)
