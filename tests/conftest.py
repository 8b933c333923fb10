"""Options of the test run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-files", type=int, default=300, help="how many mutated files the decoder gets"
    )
