"""Tests, and the programs that measure."""

import pytest

pytest.register_assert_rewrite("tests.support")  # so that what its asserts compared is shown when they fail
