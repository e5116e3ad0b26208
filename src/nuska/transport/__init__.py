"""Ways in: translate requests to core calls and answers back."""
