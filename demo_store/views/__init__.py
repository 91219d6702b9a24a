"""Verse's pages: browsing (`shop`), the cart (`cart`) and the way to an order (`checkout`)."""
