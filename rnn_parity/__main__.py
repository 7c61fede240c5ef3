"""`python -m rnn_parity` is the command line."""

import sys

from rnn_parity.cli import main

if __name__ == "__main__":
    sys.exit(main())
