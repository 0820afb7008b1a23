"""Checks models before anything is generated with them, or trained from them."""
