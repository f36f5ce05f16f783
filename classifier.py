"""Train one net with random hyper-parameters and write it in the 2020 program's file layout, as its README shows:

    python classifier.py --data_nmn=mnist --log_dir=OUTPUT_PATH --prints=20 --fixed=0

--help lists the flags; docs/legacy.md says what differs from the 2020 program, and why.
"""

import sys

from nws.legacy.classifier import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
