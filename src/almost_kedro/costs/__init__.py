"""What programs were planned to take, and what they took."""
