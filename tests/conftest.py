"""Options of the test run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-files", type=int, default=300, help="how many mutated files the decoder gets"
    )
    parser.addoption(
        "--require-spark",
        action="store_true",
        help="let the Spark tests fail, and not skip, where Java or Maven is missing",
    )
