"""Text of others (names, versions, messages) as it may be shown. The standard library alone.

A name in a file can hold anything: codes that move a terminal's cursor, signs that turn the
direction of writing, a line that a workflow runner takes for a command. Nothing of it is left out:
what is not shown as itself is shown escaped, as Python writes it.
"""

from __future__ import annotations

import re

CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, delete, C1
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # Unicode's
    "\ud800-\udfff\U000e0000-\U000e0fff]"  # half characters, invisible tags
)
"""What acts instead of being seen. The joiners U+200C and U+200D stay: scripts need them."""
AT_LINE_START = re.compile(r"(?m)^([^\S\n]*):(?=:)")
"""A command of GitHub's runner, which it looks for behind white space, too."""
ANYWHERE = re.compile(r"#(?=#(?:vso|teamcity)?\[)")
"""A command of Azure's runner, TeamCity's, and GitHub's of old, wherever it stands in a line."""


def shown(text: str, keep: str = "") -> str:
    """`text` with its control characters escaped, but for `keep`, and no runner's command in it.

    Commands that count at the start of a line alone are up to `without_commands`.
    """

    def escape(found: re.Match[str]) -> str:
        sign = found[0]
        return sign if sign in keep else sign.encode("unicode_escape").decode()

    return ANYWHERE.sub(r"\\x23", CONTROL.sub(escape, text))


def without_commands(text: str) -> str:
    """Lines made of shown text, none of which a workflow runner takes for a command any more."""
    return AT_LINE_START.sub(r"\1\\x3a", text)


def shown_lines(text: str) -> str:
    """A message whose line breaks are its own, with everything else escaped as in `shown`."""
    return without_commands(shown(text, keep="\n"))
