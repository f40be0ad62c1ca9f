"""What all REST routes share: errors, pages of lists, rate limits, the schema."""
