"""Whether a command is sent in the name of the customer whose order or basket it changes. Pure.

It counts where `CHORUS_REQUIRE_ACTOR` is set. The shop's own reactions act for nobody, so `order.py` and `basket.py`
check the commands of clients only.
"""

from contexts.kernel import CustomerId


def why_not_theirs(acting_for: str, customer_id: CustomerId) -> str:
    """Why the sender is not this customer, for a refusal; empty when it is."""
    if acting_for == customer_id:
        return ""
    sender = f"it acts for {acting_for!r}" if acting_for else "it does not say for whom it acts"
    return f"{sender}, who is not the customer"
