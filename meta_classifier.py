"""Read a hyper-parameter back from raw weights with a deep meta-classifier, as the 2020 program's README shows:

    python meta_classifier.py --data_train=nws_main_train.csv --data_test=nws_main_test.csv --prop=0 --K=11,20 --slice_length=5000

--help lists the flags; docs/legacy.md says what differs from the 2020 program, and why.
"""

import sys

from nws.legacy.meta_classifier import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
