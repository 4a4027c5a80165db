"""What the demo prints of a task, in every state that ends one."""

import pytest
from rich.text import Text

from include.local_stack.demo import MARKS


@pytest.mark.parametrize("state", ["success", "failed", "upstream_failed", "skipped"])
def test_the_mark_of_a_state_can_be_printed(state):
    assert Text.from_markup(f"{MARKS[state]}[/] a task").plain.endswith(" a task")
