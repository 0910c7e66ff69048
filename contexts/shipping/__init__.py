"""Shipping: hands a parcel to the carrier once its order is reserved, paid and confirmed, and never after a cancel."""
