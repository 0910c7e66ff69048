"""A warning about our code is an error; a deprecation inside a dependency does not break the run of a newer Python."""

import warnings

import pytest


def warn(category: type[Warning], module: str) -> None:
    """Warn as Python does when a line of the module gives cause."""
    warnings.warn_explicit("there is a newer way", category, f"{module}.py", 1, module=module)


@pytest.mark.parametrize("module", ["shared.engine.loop", "contexts.bank.older_books", "tests.bench.load", "contexts"])
@pytest.mark.parametrize("category", [DeprecationWarning, ResourceWarning, RuntimeWarning, SyntaxWarning])
def test_a_warning_about_our_code_is_an_error(category: type[Warning], module: str) -> None:
    with pytest.raises(category):
        warn(category, module)


@pytest.mark.parametrize("module", ["nats.aio.client", "nats", "aiosmtpd.smtp", "cyclopts.core"])
def test_a_deprecation_inside_a_dependency_is_its_own_affair(module: str) -> None:
    warn(DeprecationWarning, module)


@pytest.mark.parametrize("category", [ResourceWarning, RuntimeWarning])
def test_whatever_else_goes_wrong_in_a_dependency_may_be_our_fault(category: type[Warning]) -> None:
    with pytest.raises(category):
        warn(category, "asyncio.base_events")
