"""What happens when one tries: brute force that knows no theory."""
