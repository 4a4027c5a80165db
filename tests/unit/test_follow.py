"""The mark that the demo prints for each final state of a task."""

import pytest
from rich.text import Text

from include.local_stack.demo import MARKS


@pytest.mark.parametrize("state", ["success", "failed", "upstream_failed", "skipped"])
def test_the_mark_of_every_final_state_can_be_printed(state):
    assert Text.from_markup(f"{MARKS[state]}[/] a task").plain.endswith(" a task")
