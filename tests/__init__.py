"""Tests, and the programs that measure."""

import sys

# So that what the asserts of tests.support compared is shown when they fail. Programs that measure others run without.
if (pytest := sys.modules.get("pytest")) is not None:
    pytest.register_assert_rewrite("tests.support")
