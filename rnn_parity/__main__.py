"""`python -m rnn_parity` is the command line."""

from rnn_parity.cli.main import program

if __name__ == "__main__":
    program()
