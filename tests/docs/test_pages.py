"""The pages are true: their commands and their Python run, and print what stands below them."""

import re
import shutil

import pytest

from rnn_parity.report.manual import PAGE, LINK
from docs.pages import BLOCK, MANUAL, NOT_RUN, PAGES, ROOT, answered, blocks, comparable, name_of

RUN = [page for page in PAGES if blocks(page, "console") or blocks(page, "python")]
